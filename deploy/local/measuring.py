"""What `./dev chaos`, `bench` and `profile` have in common: a server, a folder for logs, and lines for who waits."""

import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

from bridge.caller.quiet import lower_sdk_lines
from deploy.local.ending import FAILED, INTERRUPTED, remove, run_until_signalled
from deploy.local.livekit_binary import NoLiveKitServer, find_or_build
from pool.base import logs


def measure(
    what: str, run: Callable[[Path, Path], Coroutine[None, None, int]], *, install: Callable[[], None] = lambda: None
) -> int:
    """Run to the end, or until a signal; the exit status.

    Args:
        what: One word, which the folder is named with.
        install: Called before the loop runs, where Ctrl-C can break it off: it may take minutes.
        run: Told the folder and the livekit-server. When its status is 1 the folder is kept, and named; else it goes.
    """
    logs.configure(level="error", json=False)
    lower_sdk_lines()
    try:
        binary = find_or_build()
        install()
    except NoLiveKitServer as error:
        tell(f"error: {error}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT
    run_dir = Path(tempfile.mkdtemp(prefix=f"roompool-{what}-"))
    status = FAILED
    try:
        status = run_until_signalled(lambda: run(run_dir, binary), at_once=lambda: None)
    finally:  # also when it broke off with an exception
        if status == FAILED:
            tell(f"kept: {run_dir}")
        else:
            remove(run_dir)
    return status


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions in a group, however deep."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def tell(line: str) -> None:
    """A line of progress, for a person: stderr."""
    print(line, file=sys.stderr, flush=True)
