"""A worker dies in the middle of a talk: whoever goes on remembers it."""

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

import pytest

from bridge.caller.wav import hello
from bridge.settings import DEFAULT_GREETING, DEFAULT_RETURN_SENTENCE
from bridge.simulator.lines import MARK
from tests.e2e.site import PATIENCE_S, Site, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]


async def test_the_next_owner_of_a_killed_worker_goes_on_where_it_stopped(rough: Site) -> None:
    """Its prompt holds what was said, as data; it says that it is back, and does not greet."""
    room = new_room("remembered")
    async with rough.hire(2) as workers, rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        owner, claim = await rough.claimed(room, workers)
        asked = await caller.say(hello())
        await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        await until_remembered(rough, room, turns=3)  # the greeting, the question, the answer
        await rough.speak_long(caller)
        await owner.kill()
        killed_at = asyncio.get_running_loop().time()
        await rough.claimed(room, workers, fence_above=claim.facts["fence"])
        await caller.agent_heard(PATIENCE_S, since=killed_at)
        first, second = await rough.voice_sessions_of(room)
        assert MARK not in prompt_of(first)
        assert prompt_of(second).startswith(prompt_of(first))
        recap = prompt_of(second).removeprefix(prompt_of(first))
        assert recap.count(MARK) >= 3
        assert first["config"]["greeting"] == DEFAULT_GREETING
        assert second["config"]["greeting"] == DEFAULT_RETURN_SENTENCE
        assert (caller.witness.agents_max, caller.witness.audible_max, caller.witness.overlap_s()) == (1, 1, 0)


async def test_without_memory_the_next_owner_greets(rough: Site) -> None:
    """ROOMPOOL_REMEMBER=0: nothing that was said is in Redis, and the agent that follows begins anew."""
    room = new_room("forgotten")
    async with rough.hire(2, ROOMPOOL_REMEMBER="0") as workers, rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        owner, claim = await rough.claimed(room, workers)
        asked = await caller.say(hello())
        await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        await caller.until_agent_silent(800, PATIENCE_S)
        await owner.kill()
        killed_at = asyncio.get_running_loop().time()
        await rough.claimed(room, workers, fence_above=claim.facts["fence"])
        await caller.agent_heard(PATIENCE_S, since=killed_at)
        first, second = await rough.voice_sessions_of(room)
        assert prompt_of(second) == prompt_of(first)
        assert second["config"]["greeting"] == DEFAULT_GREETING
        assert await remembered(rough, room) == 0


async def test_a_talk_that_ended_is_forgotten(rough: Site) -> None:
    """The caller hangs up and calls again, in the same life of the room: a new talk, greeted."""
    room = new_room("over")
    async with rough.hire():
        async with rough.caller(room, identity="anna") as caller:
            await caller.agent_heard(PATIENCE_S)
            asked = await caller.say(hello())
            await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
            await until_remembered(rough, room, turns=2)
        async with rough.caller(room, identity="anna") as caller:
            await caller.agent_heard(PATIENCE_S)
            second = (await rough.voice_sessions_of(room))[1]
            assert second["config"]["greeting"] == DEFAULT_GREETING
            assert MARK not in prompt_of(second)
            await caller.hang_up()


def prompt_of(session: dict[str, Any]) -> str:
    return str(session["config"]["system_prompt"])


async def remembered(site: Site, room: str) -> int:
    """How many turns of the room's talk are kept."""
    state = await site.look(room)
    async with site.redis() as redis:
        return await cast(Awaitable[int], redis.llen(f"roompool:memory:{state.sid}")) if state else 0


async def until_remembered(site: Site, room: str, *, turns: int) -> None:
    async def enough() -> bool:
        return await remembered(site, room) >= turns

    await until(enough, f"{turns} turns of {room!r} remembered")
