"""`python -m deploy.local.chaos`, which is what `./dev chaos` runs."""

from deploy.local.chaos.command import main

if __name__ == "__main__":
    main()
