"""Put out of a room that is ours: back in it, with the same voice session; put out of one that is not: gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bridge import Ending
from bridge.caller.wav import hello
from tests.bridge.caller.tone_agent import ToneAgent
from tests.bridge.harness import Harness

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(120)]


@contextlib.asynccontextmanager
async def intruder(harness: Harness, *, evictions: int = 1) -> AsyncIterator[None]:
    """Somebody is in the room under the agent's identity, and so puts it out. The owner is not asked about it before
    that one is wholly in: put out half-way, it would try again by itself after 15 s, as the SDK does."""
    livekit = harness.livekit
    harness.owner.answers.clear()
    async with ToneAgent(livekit.url, key=livekit.api_key, secret=livekit.api_secret, room=harness.room):
        await harness.owner.until("evicted", evictions)
        yield


async def put_out(harness: Harness, times: int = 1) -> None:
    """Put the agent out so many times; it comes back each time."""
    for _ in range(times):
        joins = harness.owner.story.count("rejoined")
        async with intruder(harness, evictions=joins + 1):
            harness.owner.answers.set()
            await harness.owner.until("rejoined", joins + 1)


async def test_an_agent_put_out_of_its_own_room_comes_back_and_the_talk_goes_on(harness: Harness) -> None:
    """The voice session never notices, each join has a token of its own, and never are two heard."""
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        await put_out(harness)
        said = await caller.say(hello())
        await caller.until_agent_audible(since=said.ended_at)
        await caller.hang_up()
        outcome = await call
    assert (outcome.ending, outcome.voice_sessions) == (Ending.CALLER_LEFT, 1)
    assert harness.owner.story.count("evicted") == 1
    assert harness.owner.minted == 2
    assert caller.witness.audible_max == 1
    assert len(outcome.served) == 1


async def test_an_agent_put_out_before_it_was_heard_comes_back_too(harness: Harness) -> None:
    """While its track is held back for its caller's sake: nothing is published into a room that we are out of."""
    async with harness.caller() as caller, harness.call(harness.spec(publish_after_ms=5000)):
        await caller.agent_seen()
        async with intruder(harness):
            assert "joined" not in harness.owner.story
            harness.owner.answers.set()
            await harness.owner.until("first_sound")


async def test_what_the_caller_said_before_an_eviction_is_answered_after_it(harness: Harness) -> None:
    """The way back takes a fraction of a second; the words that had reached us are on their way to the voice."""
    async with harness.caller() as caller, harness.call():
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        said = await caller.say(hello())
        await put_out(harness)
        await caller.until_agent_audible(since=said.ended_at)
        assert harness.simulator.sessions()[0].turns == 1


async def test_an_identity_that_somebody_else_uses_is_given_up_after_three_evictions(harness: Harness) -> None:
    """Two agents that put each other out for ever would be worse than none."""
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        await put_out(harness, times=2)
        async with intruder(harness, evictions=3):
            harness.owner.answers.set()
            outcome = await call
    assert outcome.ending is Ending.IDENTITY_TAKEN
    assert harness.owner.minted == 3
    assert all(session.ended_by_session_end for session in harness.simulator.sessions())


async def test_a_stale_agent_is_put_out_by_its_successor_and_stays_out(harness: Harness) -> None:
    """Put out of a room that is no longer its own, an agent says so: a lost lease, not a stolen identity."""
    second = harness.another()
    async with harness.caller() as caller, harness.call() as first_call:
        await caller.agent_heard()
        harness.owner.confirms = False
        async with second.call():
            outcome = await first_call
            await second.owner.until("joined")
    assert (outcome.ending, outcome.code) == (Ending.LEASE_LOST, "evicted")
    assert harness.owner.minted == 1
    assert second.owner.story.count("evicted") == 0
    assert caller.witness.audible_max <= 1
    assert all(session.ended_by_session_end for session in harness.simulator.sessions())


async def test_nobody_joins_again_without_a_permit(harness: Harness) -> None:
    """The registry's answer may be too old by the time of the join: the last word is the permit's."""
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        harness.owner.join = False
        async with intruder(harness):
            harness.owner.answers.set()
            outcome = await call
    assert outcome.ending is Ending.LEASE_LOST
    assert harness.owner.minted == 1


async def test_a_caller_who_left_while_the_agent_was_out_is_not_waited_for_long(harness: Harness) -> None:
    """Coming back, the agent looks who is there."""
    async with harness.caller() as caller, harness.call(harness.spec(linger_s=0.2)) as call:
        await caller.agent_heard()
        async with intruder(harness):
            await caller.hang_up()
            harness.owner.answers.set()
            outcome = await call
    assert outcome.ending is Ending.CALLER_LEFT


async def test_a_way_back_that_takes_too_long_is_given_up(harness: Harness) -> None:
    """Somebody else may reach LiveKit. A join that still succeeds afterwards undoes itself."""
    async with harness.caller() as caller, harness.call(harness.spec(out_of_room_s=1.0)) as call:
        await caller.agent_heard()
        async with intruder(harness):
            harness.livekit.freeze()
            try:
                harness.owner.answers.set()
                outcome = await call
            finally:
                harness.livekit.thaw()
        await until_no_join_is_under_way()
        await caller.agent_gone()
    assert outcome.ending is Ending.ROOM_LOST
    assert caller.witness.audible_max == 1


async def until_no_join_is_under_way() -> None:
    """Wait for joins that were given up."""
    joins = [task for task in asyncio.all_tasks() if task.get_name() == "room_connect"]
    if joins:
        await asyncio.wait(joins, timeout=30)
