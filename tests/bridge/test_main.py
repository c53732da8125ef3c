"""`python -m bridge`: one call by hand, with no Redis and no pool."""

import asyncio
import os
import signal
import sys

import pytest

from tests.bridge.harness import Harness

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(120)]


async def joined_by_hand(harness: Harness) -> asyncio.subprocess.Process:
    """The command in a process of its own."""
    environment = {
        **os.environ,
        **harness.livekit.env,
        "ASSEMBLYAI_API_KEY": "any",
        "ROOMPOOL_VOICE_URL": harness.simulator.url,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "--room", harness.room, env=environment, stderr=asyncio.subprocess.DEVNULL
    )


async def ended(process: asyncio.subprocess.Process) -> int:
    """Its exit code."""
    async with asyncio.timeout(30):
        return await process.wait()


async def test_a_room_joined_by_hand_has_an_agent_until_its_caller_leaves(harness: Harness) -> None:
    """Exit 0: nothing failed."""
    process = await joined_by_hand(harness)
    async with harness.caller() as caller:
        await caller.agent_heard(timeout_s=30)
        await caller.hang_up()
        assert await ended(process) == 0
    assert harness.simulator.sessions()[0].ended_by_session_end


async def test_a_call_made_by_hand_ends_with_a_signal(harness: Harness) -> None:
    """The room is left and the voice session ended, as always."""
    process = await joined_by_hand(harness)
    async with harness.caller() as caller:
        await caller.agent_heard(timeout_s=30)
        process.send_signal(signal.SIGTERM)
        await caller.agent_gone()
        assert await ended(process) == 0
    assert harness.simulator.sessions()[0].ended_by_session_end
