"""How the demo ends: its exit status, what signals do to it, and what becomes of the run's folder."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

OK = 0
FAILED = 1
BAD_SETTINGS = 2
INTERRUPTED = 128
"""Plus the signal's number."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_signalled(run: Callable[[], Coroutine[None, None, int]], *, at_once: Callable[[], object]) -> int:
    """Run to the end, or until a signal ends programs; the exit status, 128 + n after signal n.

    The first one cancels the run, which then ends what it started, in order. The second one ends this process there and
    then, after `at_once`; whatever is on a leash ends with it.
    """
    got: list[int] = []

    async def main() -> int:
        running = asyncio.current_task()
        assert running is not None

        def end(number: signal.Signals) -> None:
            if got:
                at_once()
                os._exit(INTERRUPTED + number)
            got.append(number)
            running.cancel()

        for number in ENDING_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, end, number)
        status = await run()
        return INTERRUPTED + got[0] if got else status

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        return INTERRUPTED + got[0]


class Interrupted(BaseException):
    """A signal other than Ctrl-C's that ends programs came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def raised(*numbers: signal.Signals) -> Iterator[None]:
    """Raise `Interrupted` for these signals, as Python does KeyboardInterrupt for Ctrl-C."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- the folder


RUN_DIR_PREFIX = "roompool-demo-"
PID_FILE = "pid"
"""In a run's folder for as long as its demo runs."""


def new_run_dir() -> Path:
    """A folder for configuration, data, logs (in `logs`) and recordings. Those of killed demos are removed first."""
    sweep_left_behind()
    run_dir = Path(tempfile.mkdtemp(prefix=RUN_DIR_PREFIX))
    (run_dir / PID_FILE).write_text(str(os.getpid()))
    (run_dir / "logs").mkdir()
    return run_dir


def let_go(run_dir: Path, status: int) -> None:
    """Keep the folder of a run that failed, for whoever wants to know why; remove any other."""
    if status == FAILED:
        (run_dir / PID_FILE).unlink()
    else:
        remove(run_dir)


def remove(run_dir: Path) -> None:
    shutil.rmtree(run_dir, ignore_errors=True)


def sweep_left_behind() -> None:
    """Remove the folders of demos that were killed: nobody else could."""
    for noted in Path(tempfile.gettempdir()).glob(f"{RUN_DIR_PREFIX}*/{PID_FILE}"):
        try:
            os.kill(int(noted.read_text()), 0)
        except ProcessLookupError:
            remove(noted.parent)
        except (OSError, ValueError):  # somebody else's, or just being made
            continue
