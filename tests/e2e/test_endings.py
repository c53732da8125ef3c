"""Who comes back after the end of a call, and who stays away."""

from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from bridge.caller.wav import hello
from deploy.local.processes import Child
from pool.registry import Standing
from tests.e2e.site import PATIENCE_S, Site, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]


async def test_a_caller_who_returns_gets_the_agent_again(calm: Site, workers: list[Child]) -> None:
    """Hanging up and coming back before LiveKit closes the room: another call in the same life of the room."""
    room = new_room("returning")
    async with calm.caller(room, identity="anna") as caller:
        await caller.agent_heard(PATIENCE_S)
        life = (await calm.until_standing(room, Standing.OWNED)).sid
    async with calm.caller(room, identity="anna") as caller:
        await caller.agent_heard(PATIENCE_S)
        asked = await caller.say(hello())
        await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        again = await calm.until_standing(room, Standing.OWNED)
        assert again.sid == life, "LiveKit closed the room before the caller was back"
        assert caller.witness.agents_max == 1
    assert len(calm.claims(room)) == 2
    assert len(await calm.until_voice_ended(room)) == 2


async def test_an_agent_that_hung_up_stays_away_until_somebody_new_comes(calm: Site, workers: list[Child]) -> None:
    """The caller who stays behind is left alone, also by the reconciler, pass after pass; somebody new is served."""
    room = new_room("hung-up")
    async with calm.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        (voice,) = await calm.voice_sessions_of(room)
        assert await calm.control("hang_up", session_id=voice["session_id"]) == {"sessions": 1}
        gone_at = await caller.agent_gone(PATIENCE_S)
        await calm.until_standing(room, Standing.RESTED)
        await looked_at_again(calm, room)
        await calm.reconciled(1)
        state = await calm.until_standing(room, Standing.RESTED)
        assert len(state.callers) == 1
        assert len(calm.claims(room)) == 1
        assert caller.witness.heard_between(gone_at, caller.known_until()) == 0
        async with calm.caller(room) as newcomer:
            await newcomer.agent_heard(PATIENCE_S)
            assert newcomer.witness.agents_max == 1
            assert len(caller.witness.stays) == 2
    worker, claim = await calm.claimed(room, workers)
    ended = await worker.wait_event("call_ended", room=room, fence=claim.facts["fence"])
    assert ended.facts["ending"] == "agent_hung_up"


async def looked_at_again(site: Site, room: str) -> None:
    """Wait until the reconciler has taken a closer look at a rested room; it notes when it does."""
    async with site.redis() as redis:
        read = cast(Callable[[str, str], Awaitable[str | None]], redis.hget)
        before = await read(f"roompool:room:{room}", "looked")

        async def is_later() -> bool:
            return await read(f"roompool:room:{room}", "looked") != before

        await until(is_later, "a closer look at the rested room")
