"""How this process starts and signals what it leashes (`leash.py`): one way for servers and for our own programs."""

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LEASH = Path(__file__).with_name("leash.py")


def has_death_signal() -> bool:
    """True where the kernel itself ends a child with its parent; elsewhere the leash stays beside the command."""
    return sys.platform == "linux"


@dataclass(slots=True)
class Leash:
    """A command with the leash in front, and what must be kept for as long as it shall live.

    Start it with `pass_fds` and `start_new_session=True` (so that Ctrl-C reaches us alone and we end things in
    order), then call `handed_over`; call `let_go` when it has ended.
    """

    argv: list[str]
    pass_fds: tuple[int, ...] = ()
    _lifeline: int | None = None

    @classmethod
    def on(cls, command: list[str], *, death_signal: signal.Signals = signal.SIGKILL) -> Self:
        """Leash `command`. Only from the main thread: the death signal follows the thread that forks."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a leash held by a thread would end the command when that thread ends")
        # -I and -S: nothing of the environment and no site-packages, so that the leash itself starts in some 15 ms
        words = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), "--signal", death_signal.name[3:]]
        if has_death_signal():
            return cls([*words, "--", *command])
        reader, writer = os.pipe()
        return cls([*words, "--watch", str(reader), "--", *command], (reader,), writer)

    def handed_over(self) -> None:
        """The command has its end of the pipe: close ours."""
        for fd in self.pass_fds:
            os.close(fd)
        self.pass_fds = ()

    def let_go(self) -> None:
        self.handed_over()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def send(pid: int, number: signal.Signals) -> None:
    """Signal a leashed process; nothing happens when it is gone already.

    It leads a session of its own. STOP and CONT reach all of it: a worker stands still with its carriers. So does KILL
    where the leash stays beside the command; elsewhere the kernel ends what a killed process has leashed.
    """
    to_all = number in (signal.SIGSTOP, signal.SIGCONT) or (not has_death_signal() and number == signal.SIGKILL)
    try:
        (os.killpg if to_all else os.kill)(pid, number)
    except ProcessLookupError:
        return


def tail(log: Path, *, lines: int = 20) -> str:
    """The last lines of a log file, indented, for an error's text."""
    if not log.exists():
        return "    (no log)"
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in last) or "    (its log is empty)"
