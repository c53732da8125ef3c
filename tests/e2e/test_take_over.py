"""A worker dies or stands still in the middle of a call."""

import asyncio

import pytest

from bridge.caller import hearing
from bridge.caller.wav import hello
from deploy.local.processes import Child
from tests.e2e.site import PATIENCE_S, Site, new_room

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

FROZEN_S = 5.0
"""Longer than a lease."""


OFF = dict.fromkeys(
    ["ROOMPOOL_UVLOOP", "ROOMPOOL_NARROW_EVENTS", "ROOMPOOL_JOINS_AT_ONCE", "ROOMPOOL_PUBLISH_AFTER_MS"], "0"
)

either_way = pytest.mark.parametrize("env", [{}, OFF], ids=["as it comes", "optimisations off"])


@either_way
async def test_a_killed_worker_is_replaced_by_the_other(rough: Site, env: dict[str, str]) -> None:
    """After kill -9 the other worker goes on with the call; the caller never hears two agents, nor sees two."""
    room = new_room("killed")
    async with rough.hire(2, **env) as workers, rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        owner, claim = await rough.claimed(room, workers)
        await owner.kill()
        killed_at = asyncio.get_running_loop().time()
        successor, _ = await rough.claimed(room, workers, fence_above=claim.facts["fence"])
        assert successor is the_other(owner, workers)
        await caller.agent_heard(PATIENCE_S, since=killed_at)
        asked = await caller.say(hello())
        await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        witness = caller.witness
        assert (len(witness.stays), witness.agents_max, witness.audible_max, witness.overlap_s()) == (2, 1, 1, 0)


@either_way
async def test_a_worker_that_stood_still_wakes_up_silent(rough: Site, env: dict[str, str]) -> None:
    """SIGSTOP in mid-sentence for longer than a lease: the other worker takes over, and after SIGCONT not one audible
    frame of the old agent comes; its process lives on and takes the next room."""
    room, next_room = new_room("frozen"), new_room("next")
    async with rough.hire(2, ROOMPOOL_CAPACITY="1", **env) as workers, rough.caller(room) as caller:
        owner, _ = await rough.claimed(room, workers)
        await rough.speak_long(caller)
        owner.freeze()
        frozen_at = asyncio.get_running_loop().time()
        await caller.agent_heard(PATIENCE_S, since=frozen_at)
        await caller.stay(frozen_at + FROZEN_S - asyncio.get_running_loop().time())
        owner.thaw()
        thawed_at = asyncio.get_running_loop().time()
        ended = await owner.wait_event("call_ended", room=room, timeout_s=PATIENCE_S)
        assert (ended.facts["ending"], ended.facts["level"]) == ("lease_lost", "info")
        async with rough.caller(next_room) as another:
            await another.agent_heard(PATIENCE_S)
        taken, _ = await rough.claimed(next_room, workers)
        assert taken is owner
        old, new = caller.witness.stays
        assert hearing.heard_between(old.hearing.stretches, thawed_at, caller.known_until()) == 0
        assert caller.witness.present == (new,)
        assert (caller.witness.agents_max, caller.witness.audible_max, caller.witness.overlap_s()) == (1, 1, 0)
        assert len(rough.claims(room)) == 2


def the_other(one: Child, workers: list[Child]) -> Child:
    (other,) = (worker for worker in workers if worker is not one)
    return other
