"""`python -m deploy.local.bench`, which is what `./dev bench` runs."""

from deploy.local.bench.command import main

if __name__ == "__main__":
    main()
