"""Nothing that was started outlives its parent, also when that one gets no chance to clean up."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import spawn
from deploy.local.valkey import Valkey
from tests.peers.pids import is_alive, until_gone

PARENT = """
import sys, time
from deploy.local.valkey import Valkey
with Valkey() as server:
    print(server.pid, server.run_dir, flush=True)
    time.sleep(60)
"""


async def test_a_server_ends_when_its_parent_is_killed() -> None:
    """kill -9 of the process that started a Valkey ends the Valkey as well."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid = int((await asyncio.wait_for(parent.stdout.readline(), 10)).split()[0])
    assert is_alive(pid)
    parent.kill()
    await parent.wait()
    await until_gone([pid])


async def test_a_command_whose_parent_is_gone_is_never_run(tmp_path: Path) -> None:
    """The parent may die between the fork and the leash's first line: the command is not run at all."""
    proof = tmp_path / "ran"
    not_the_parent = "1" if os.getpid() != 1 else "2"
    leash = [sys.executable, "-I", "-S", str(spawn.LEASH), not_the_parent, "--", "touch", str(proof)]
    process = await asyncio.create_subprocess_exec(*leash)
    assert await process.wait() != 0
    assert not proof.exists()


async def test_where_the_kernel_does_not_help_a_watcher_ends_the_command() -> None:
    """With a pipe instead of the kernel's signal: the command ends when the pipe's only writer is gone."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    leash = [sys.executable, "-I", "-S", str(spawn.LEASH), str(os.getpid()), "--watch", str(reader), "--", *command]
    watcher = await asyncio.create_subprocess_exec(*leash, stdout=asyncio.subprocess.PIPE, pass_fds=(reader,))
    os.close(reader)
    assert watcher.stdout is not None
    pid = int(await asyncio.wait_for(watcher.stdout.readline(), 10))
    os.close(writer)
    await asyncio.wait_for(watcher.wait(), 10)
    await until_gone([pid])


async def test_a_watcher_passes_signals_on_and_exits_as_the_command_did() -> None:
    """SIGTERM reaches the command, and its exit code comes back."""
    reader, writer = os.pipe()
    program = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print(flush=True); time.sleep(60)"
    leash = [sys.executable, "-I", "-S", str(spawn.LEASH), str(os.getpid()), "--watch", str(reader), "--"]
    watcher = await asyncio.create_subprocess_exec(
        *leash, sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, pass_fds=(reader,)
    )
    os.close(reader)
    assert watcher.stdout is not None
    await asyncio.wait_for(watcher.stdout.readline(), 10)
    watcher.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(watcher.wait(), 10) == 7
    os.close(writer)


async def test_a_leash_is_not_given_out_to_a_thread() -> None:
    """The kernel's signal follows the thread that forked, so a leash taken by a thread is refused."""
    with pytest.raises(RuntimeError, match="held by a thread"):
        await asyncio.to_thread(spawn.Leash.on, ["true"])


def test_an_unknown_use_is_explained() -> None:
    done = subprocess.run([sys.executable, str(spawn.LEASH), "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr


async def test_a_server_behaves_the_same_behind_a_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the leash stays beside the server, freezing, restarting and ending reach the server all the same."""
    monkeypatch.setattr(spawn, "has_death_signal", lambda: False)
    async with Valkey() as server:
        behind = int(server.log.read_text().partition(":")[0])  # each of its lines begins with its pid
        assert is_alive(behind)
        assert behind != server.pid
        server.freeze()
        assert not server.is_ready()
        server.thaw()
        assert server.is_ready()
        await server.restart(keep_data=True)
        await until_gone([behind])
        assert server.is_ready()
        successor = int(server.log.read_text().splitlines()[-1].partition(":")[0])
    await until_gone([successor])
