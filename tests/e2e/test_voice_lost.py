"""The voice's socket breaks in the middle of a call."""

import pytest

from bridge.caller.caller import Caller
from bridge.caller.wav import hello
from deploy.local.processes import Child
from tests.e2e.site import PATIENCE_S, Site, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]


async def test_a_call_goes_on_when_the_voice_is_lost(calm: Site, workers: list[Child]) -> None:
    """A fresh voice session takes the place of the lost one; the agent stays in the room, and answers."""
    room = new_room("dropped")
    async with calm.caller(room) as caller:
        await calm.speak_long(caller)
        (lost,) = await calm.voice_sessions_of(room)
        assert await calm.control("drop", session_id=lost["session_id"]) == {"sessions": 1}

        async def fresh() -> bool:
            return len(await calm.voice_sessions_of(room)) == 2

        await until(fresh, "a second voice session")
        await caller.until_agent_silent(800, PATIENCE_S)
        asked = await caller.say(hello())
        await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        assert len(caller.witness.stays) == 1
        await caller.hang_up()
    worker, _ = await calm.claimed(room, workers)
    ended = await worker.wait_event("call_ended", room=room, timeout_s=PATIENCE_S)
    assert (ended.facts["ending"], ended.facts["voice_sessions"]) == ("caller_left", 2)
    first, second = await calm.voice_sessions_of(room)
    assert (first["ending"], second["ended_by_session_end"]) == ("fault", True)
    assert len(calm.claims(room)) == 1


async def test_a_voice_that_does_not_come_back_ends_the_call_in_words(calm: Site, workers: list[Child]) -> None:
    """When no try gets a voice the agent leaves, the log says what to look at, and the next try serves the caller."""
    room = new_room("voiceless")
    async with calm.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        worker, claim = await calm.claimed(room, workers)
        async with calm.faults(at_capacity_n=1000):
            await calm.control("drop")
            ended = await worker.wait_event("call_ended", room=room, timeout_s=60)
        assert (ended.facts["ending"], ended.facts["code"]) == ("voice_lost", "at_capacity")
        assert ended.facts["cure"]
        await is_served_again(calm, caller, room, workers, claim.facts["fence"])


async def is_served_again(site: Site, caller: Caller, room: str, workers: list[Child], fence: int) -> None:
    await site.claimed(room, workers, fence_above=fence)
    stay = await caller.agent_seen(PATIENCE_S, since=caller.witness.stays[-1].seen_at + 0.001)
    assert stay in caller.witness.present
