"""Files of series with their place on the disk taken before anything is written into them.

They are written through memory (prometheus-client maps them), and a store for which a full disk has no place left ends
the process by SIGBUS, without a word (seen). Series are not worth a call, let alone those of a whole worker.
Standard library only: a carrier needs it before anything loads prometheus-client.
"""

import contextlib
import os
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder of series; without it prometheus-client keeps them in the process."""

KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
"""What a carrier's files are called before its pid: one for each kind of series that there is."""

FIRST_BYTES = 1 << 16
"""As much as prometheus-client begins with; a carrier's series take an eighth of it."""


def reserve_for_this_process(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Take the place of this carrier's series. False: there is none, and they stay in the process, unseen.

    It may go on for days before the disk is full: what is taken at its start is enough for all that it will count.
    """
    folder = environ.get(VARIABLE)
    if not folder:
        return True
    files = [Path(folder, f"{kind}_{os.getpid()}.db") for kind in KINDS]
    try:
        for file in files:
            reserve(file, FIRST_BYTES)
    except OSError:
        del environ[VARIABLE]
        for file in files:
            with contextlib.suppress(OSError):
                file.unlink()
        return False
    return True


def reserve(file: Path, size: int) -> None:
    """Make a file at least so long, with a place on the disk for all that is added.

    Raises:
        OSError: there is none; the file is as long as it was.
    """
    with file.open("ab", buffering=0) as raw:
        before = raw.tell()
        missing = size - before
        try:
            while missing > 0:
                missing -= raw.write(bytes(missing))
        except OSError:
            raw.truncate(before)
            raise
