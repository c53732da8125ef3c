"""`python -m deploy.local.profile`, which is what `./dev profile` runs."""

from deploy.local.profile.command import main

if __name__ == "__main__":
    main()
