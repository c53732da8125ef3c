"""Where a carrier's CPU goes, by thread and by function: `./dev profile`.

`threads.py` and `stacks.py` are pure but for one reader of `/proc`; `recording.py` runs py-spy, `run.py` all the rest.
"""
