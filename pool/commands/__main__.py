"""`python -m pool.commands`: the command `roompool` where its script is not on PATH."""

from pool.commands import main

if __name__ == "__main__":
    main()
