"""All of roompool at once, brought up and ended."""

import asyncio
import sys

import aiohttp
import pytest

from deploy.local.stack import StackFailed
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
        await stack.kill_worker(0)
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
    """A worker with a setting that cannot be fails the start; the text holds what it said itself."""
    with pytest.raises(StackFailed, match=r"(?s)worker-1 ended with exit code 2.*ROOMPOOL_CAPACITY"):
        async with stack_factory(workers=1, worker_env={"ROOMPOOL_CAPACITY": "many"}):
            pass
