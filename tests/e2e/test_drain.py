"""SIGTERM: a worker on its way out."""

import asyncio

import pytest

from bridge.caller.wav import hello
from pool.registry import Standing
from tests.e2e.site import END_S, PATIENCE_S, Site, new_room

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]


async def test_a_draining_worker_takes_no_room_and_ends_with_its_last_call(rough: Site) -> None:
    """The call in hand goes on until its caller hangs up; a new caller waits for another worker; exit status 0."""
    room, new = new_room("draining"), new_room("late")
    async with rough.hire() as (worker,), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        worker.ask_to_end()
        await worker.wait_event("draining", calls=1)
        assert await rough.readiness(worker) == 503
        async with rough.caller(new) as waiting:
            await rough.until_standing(new, Standing.WAITING)
            asked = await caller.say(hello())
            await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
            await caller.hang_up()
            assert await worker.wait_ended(timeout_s=END_S) == 0
            assert rough.claims(new) == []
            assert [one["ended_by_session_end"] for one in await rough.voice_sessions_of(room)] == [True]
            async with rough.hire():
                await waiting.agent_heard(PATIENCE_S)
                await waiting.hang_up()


ENDED = {"ROOMPOOL_GRACE_S": "1", "ROOMPOOL_HANDOVER_AFTER_S": "never"}


async def test_calls_that_outlast_the_grace_are_left_to_another_worker(rough: Site) -> None:
    """When ROOMPOOL_GRACE_S is over the agent leaves cleanly: released, not lost, its voice session ended; exit 0.

    The other worker goes on at once, without waiting for the end of a lease, and the two are never heard together.
    """
    room = new_room("grace")
    async with rough.hire(**ENDED) as (leaving,), rough.caller(room) as caller:
        await rough.speak_long(caller)
        _, claim = await rough.claimed(room, [leaving])
        async with rough.hire() as (other,):
            (first,) = await rough.voice_sessions_of(room)
            asked_at = asyncio.get_running_loop().time()
            leaving.ask_to_end()
            await rough.claimed(room, [other], fence_above=claim.facts["fence"])
            await caller.agent_heard(PATIENCE_S, since=asked_at)
            assert await leaving.wait_ended(timeout_s=END_S) == 0
            ended = leaving.events("call_ended", room=room)
            assert [line.facts["ending"] for line in ended] == ["stopped"]
            sessions = {one["session_id"]: one for one in await rough.voice_sessions_of(room)}
            assert sessions[first["session_id"]]["ended_by_session_end"]
            assert "lease_ended" not in {one.event for one in await rough.story(room)}
            witness = caller.witness
            assert (len(witness.stays), witness.agents_max, witness.audible_max, witness.overlap_s()) == (2, 1, 1, 0)
            await caller.hang_up()
