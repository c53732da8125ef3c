"""All of roompool at once, brought up and ended."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest

from deploy.local.livekit_binary import NoLiveKitServer
from deploy.local.stack import Stack, StackFailed, StackOptions
from tests.peers.pids import is_alive, until_gone
from tests.peers.stacks import StackFactory

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(120)]

PARENT = """
import asyncio
from deploy.local.stack import Stack, StackOptions
async def main():
    async with Stack.start(StackOptions(workers=1)) as stack:
        ours = [child.pid for child in stack.processes.children]
        print(*ours, stack.valkey.pid, stack.livekit_server.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_everything_is_up_when_the_block_begins_and_gone_when_it_ends(stack_factory: StackFactory) -> None:
    """Inside, every program of ours says that it is ready; afterwards not one process is left."""
    async with stack_factory(workers=1) as stack:
        second = await stack.add_worker()
        pids = [child.pid for child in stack.processes.children] + [stack.valkey.pid, stack.livekit_server.pid]
        async with aiohttp.ClientSession() as http:
            for child, event in [(stack.webhook, "webhook_ready"), (second, "worker_ready")]:
                (ready,) = child.events(event)
                async with http.get(f"{ready.facts['ops_url']}/readyz") as answer:
                    assert answer.status == 200
        await stack.workers[0].kill()
        assert [is_alive(worker.pid) for worker in stack.workers] == [False, True]
    assert len(pids) == 6
    await until_gone(pids)


async def test_nothing_outlives_a_parent_that_is_killed() -> None:
    """kill -9 of the process that brought it all up ends all of it, servers and programs alike."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pids = [int(word) for word in (await asyncio.wait_for(parent.stdout.readline(), 90)).split()]
    assert len(pids) == 5
    assert all(is_alive(pid) for pid in pids)
    parent.kill()
    await parent.wait()
    await until_gone(pids)


async def test_a_part_that_does_not_start_is_named_with_its_reason(stack_factory: StackFactory) -> None:
    """A worker with a setting that cannot be fails the start; the text holds what it said, and where its log is."""
    with pytest.raises(StackFailed, match=r"(?s)worker-1 ended with exit code 2.*ROOMPOOL_CAPACITY") as failed:
        async with stack_factory(workers=1, worker_env={"ROOMPOOL_CAPACITY": "many"}):
            pass
    run_dir = Path(str(failed.value).rpartition(" ")[2])
    assert "ROOMPOOL_CAPACITY" in (run_dir / "logs" / "worker-1.log").read_text()


async def test_a_livekit_server_that_has_to_be_found_does_not_hold_up_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding one asks programs for their versions, and may build one for minutes: others run meanwhile."""
    begun, may_end = tmp_path / "begun", tmp_path / "may-end"
    slow = tmp_path / "livekit-server"
    slow.write_text(f"#!/bin/sh\ntouch {begun}\nuntil [ -e {may_end} ]; do sleep 0.02; done\n")
    slow.chmod(0o755)
    monkeypatch.setenv("LIVEKIT_SERVER_BIN", str(slow))

    async def start() -> None:
        with pytest.raises(NoLiveKitServer):
            async with Stack.start(StackOptions(run_dir=tmp_path / "stack")):
                pytest.fail("started with a program that is none")

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        starting = group.create_task(start())
        while not begun.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        assert not starting.done()
        may_end.touch()
