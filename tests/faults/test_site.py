"""What a deployment that is being hurt can be told."""

import signal
import subprocess
import sys

from deploy.local.chaos.site import is_alive, send


def test_a_signal_to_a_process_that_is_gone_is_no_error() -> None:
    """A carrier may die between being looked up and being signalled, and the trial's finding must outlive that."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert is_alive(child.pid)
        send(child.pid, signal.SIGKILL)
    finally:
        child.communicate(timeout=10)
    assert not is_alive(child.pid)
    send(child.pid, signal.SIGCONT)
