"""`python -m pool`: a worker, as `roompool worker`."""

import sys

from pool.commands import main

if __name__ == "__main__":
    sys.argv.insert(1, "worker")
    main()
