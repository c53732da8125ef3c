"""Waiting for what a process says, and ending it."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.processes import NeverSaid, ProcessEnded, Processes, inherited_env
from tests.peers.pids import is_alive, until_gone

SPEAKER = """
import json, sys, time
print("a line that is no JSON", file=sys.stderr)
for number in range(3):
    print(json.dumps({"event": "counted", "number": number}), file=sys.stderr, flush=True)
time.sleep(60)
"""


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    async with Processes(tmp_path) as processes:
        yield processes


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


async def test_an_event_said_before_the_wait_is_found(processes: Processes) -> None:
    """A wait looks at every line so far, by event and facts; `since` leaves the earlier ones out."""
    child = await processes.start("speaker", python(SPEAKER), env={})
    last = await child.wait_event("counted", number=2)
    first = await child.wait_event("counted")
    assert (first.facts["number"], last.facts["number"]) == (0, 2)
    assert len(child.events("counted")) == 3
    assert (await child.wait_line("no JSON")).number == 0
    with pytest.raises(NeverSaid, match="did not say counted within"):
        await child.wait_event("counted", since=child.mark, timeout_s=0.05)


async def test_a_process_that_ends_fails_the_wait_with_its_last_lines(processes: Processes) -> None:
    """The exit code and what it said last are in the error: nobody has to open a log file to see why."""
    program = "import sys; print('an answer'); print('the reason', file=sys.stderr); sys.exit(3)"
    child = await processes.start("crash", python(program), env={})
    with pytest.raises(ProcessEnded, match=r"(?s)exit code 3 and never said ready.*the reason"):
        await child.wait_event("ready")
    assert child.exit_code == 3
    assert (child.out.read_text(), child.log.read_text()) == ("an answer\n", "the reason\n")


async def test_one_that_will_not_end_is_killed_after_the_grace(processes: Processes) -> None:
    """SIGTERM first; SIGKILL when the grace is over; the exit code tells which."""
    polite = "import sys, time; print('up', file=sys.stderr); time.sleep(60)"
    refusing = await processes.start("stubborn", python(f"import signal; signal.signal(15, 1); {polite}"), env={})
    leaving = await processes.start("polite", python(polite), env={})
    await refusing.wait_line("up")
    await leaving.wait_line("up")
    assert await refusing.terminate(grace_s=0.2) == -signal.SIGKILL
    assert await leaving.terminate(grace_s=5) == -signal.SIGTERM


async def test_leaving_the_block_ends_the_frozen_too(tmp_path: Path) -> None:
    """After the block nothing is alive, whatever state it was in."""
    async with Processes(tmp_path) as processes:
        child = await processes.start("speaker", python(SPEAKER), env={})
        await child.wait_event("counted")
        child.freeze()
    assert not is_alive(child.pid)


async def test_a_child_of_the_child_cannot_hold_up_its_end(processes: Processes) -> None:
    """A grandchild that keeps stderr open does not make an ended process look alive."""
    program = (
        "import subprocess, sys;"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)']).pid, file=sys.stderr)"
    )
    child = await processes.start("parent", python(program), env={})
    line = await child.wait_line(r"^\d+$")
    assert await child.wait_ended(timeout_s=5) == 0
    grandchild = int(line.text)
    os.kill(grandchild, signal.SIGKILL)
    await until_gone([grandchild])


def test_settings_of_the_shell_do_not_reach_what_a_test_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of roompool and its peers stay out; the machine's own stay in."""
    for name in ("ROOMPOOL_CAPACITY", "LIVEKIT_URL", "REDIS_URL", "ASSEMBLYAI_API_KEY", "ROOM_NAME"):
        monkeypatch.setenv(name, "of the shell")
    assert "of the shell" not in inherited_env().values()
    assert "PATH" in inherited_env()
