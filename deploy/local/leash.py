"""Run a command that cannot outlive the process which started it, also when that one is killed with -9.

    python -I leash.py PARENT_PID --signal KILL -- valkey-server valkey.conf

On Linux the kernel does the work: PR_SET_PDEATHSIG is set, then the command replaces this program and keeps its pid.
The signal comes when the *thread* that forked ends, so whoever starts a leash does it from the main thread.
Elsewhere (`--watch FD`) this program stays: it ends the command when the pipe FD, whose only writer is the parent,
closes, passes TERM, INT and HUP on, and exits as the command did.

Standard library only, and quick to start: it is in front of everything the local deployment runs.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_PARENT_GONE = 125  # the exit code nobody reads: the parent ended before the command began
_WATCH_TICK_S = 0.1  # how late the watcher may notice that its command ended by itself


def become(argv: list[str], parent_pid: int, death_signal: signal.Signals) -> NoReturn:
    """Turn into `argv`, after asking the kernel to send `death_signal` when the parent ends. If it has: exit now."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent_pid:  # it ended between the fork and the line above: no signal will ever come
        sys.exit(_PARENT_GONE)
    os.execvp(argv[0], argv)


def watch(argv: list[str], parent_fd: int, death_signal: signal.Signals) -> int:
    """Run `argv` as a child until it ends or `parent_fd` closes; return its exit code (128 + n after signal n)."""
    child = subprocess.Popen(argv)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    while (code := child.poll()) is None:
        readable, _, _ = select.select([parent_fd], [], [], _WATCH_TICK_S)
        if readable:  # nobody ever writes: readable means closed
            child.send_signal(death_signal)
            code = child.wait()
            break
    return code if code >= 0 else 128 - code


def main(words: list[str]) -> int:
    if "--" not in words:
        print("usage: leash.py PARENT_PID [--signal NAME] [--watch FD] -- COMMAND...", file=sys.stderr)
        return 2
    split = words.index("--")
    own, argv = words[:split], words[split + 1 :]
    death_signal = signal.Signals["SIG" + own[own.index("--signal") + 1]] if "--signal" in own else signal.SIGKILL
    if "--watch" in own:
        return watch(argv, int(own[own.index("--watch") + 1]), death_signal)
    become(argv, int(own[0]), death_signal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
