"""A long command that a person waits for: one line every few seconds, its own words only when it fails."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from deploy.local.spawn import Leash, tail

_TOLD_EVERY_S = 10.0

Say = Callable[[str], None]


class StepFailed(RuntimeError):
    """A command failed or took too long; the text names it and ends with its last lines."""


def run_step(argv: Sequence[str], *, what: str, say: Say, limit_s: float, env: Mapping[str, str] | None = None) -> None:
    """Run `argv`, saying every ten seconds that `what` is still going on. Nothing of it outlives us.

    Raises:
        StepFailed: It exited with another code than 0, or was ended after `limit_s`.
    """
    with tempfile.TemporaryDirectory(prefix="roompool-step-") as folder:
        log = Path(folder) / "output"
        code = _exit_code(argv, log, what, say, limit_s, env)
        if code != 0:
            ending = "failed" if code is not None else f"took more than {limit_s / 60:.0f} minutes"
            raise StepFailed(f"{what} {ending}: {' '.join(argv)}\n{tail(log)}")


def _exit_code(
    argv: Sequence[str], log: Path, what: str, say: Say, limit_s: float, env: Mapping[str, str] | None
) -> int | None:
    leash = Leash.on(list(argv))
    with log.open("wb") as output:
        running = subprocess.Popen(
            leash.argv,
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=leash.pass_fds,
            start_new_session=True,
        )
    leash.handed_over()
    started_at = time.monotonic()
    try:
        while time.monotonic() - started_at < limit_s:
            try:
                return running.wait(timeout=_TOLD_EVERY_S)
            except subprocess.TimeoutExpired:
                say(f"  still {what}: {time.monotonic() - started_at:.0f} s so far")
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)  # its own children too: a compiler's, when Ctrl-C came
        running.wait()
        leash.let_go()
