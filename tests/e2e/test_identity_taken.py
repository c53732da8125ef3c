"""Somebody else joins rooms under the agent's identity."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit import api, rtc

from pool.registry import Standing
from tests.e2e.site import PATIENCE_S, Site, new_room

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

OURS = "voice-agent"


async def test_an_agent_that_is_put_out_once_comes_back(rough: Site) -> None:
    """The lease is ours, so the room is: the voice session goes on, and nothing is greeted again."""
    room = new_room("intruder")
    async with rough.hire(), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        await caller.until_agent_silent(800, PATIENCE_S)
        async with intruder(rough, room):
            pass
        await caller.agent_seen(PATIENCE_S, since=caller.witness.stays[-1].seen_at + 0.001)
        assert len(await rough.voice_sessions_of(room)) == 1
        assert len(rough.claims(room)) == 1
        await caller.hang_up()


async def test_an_agent_that_is_put_out_again_and_again_lets_the_room_rest(rough: Site) -> None:
    """Three times within a minute: somebody uses our identity, and `why` says so with the cure."""
    room = new_room("contested")
    async with rough.hire() as (worker,), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        for times in range(1, 4):
            came_at = asyncio.get_running_loop().time()
            async with intruder(rough, room):
                pass
            if times < 3:
                await caller.agent_seen(PATIENCE_S, since=came_at)
        ended = await worker.wait_event("call_ended", room=room, timeout_s=PATIENCE_S)
        assert (ended.facts["ending"], ended.facts["level"]) == ("identity_taken", "error")
        assert "ROOMPOOL_AGENT_IDENTITY" in ended.facts["cure"]
        await rough.until_standing(room, Standing.RESTED)
        told = await rough.ask("why", room, "--json")
        assert "identity_taken" in str(told)
        assert "ROOMPOOL_AGENT_IDENTITY" in str(told)
        assert len(rough.claims(room)) == 1
        assert all(one["ended_by_session_end"] for one in await rough.until_voice_ended(room))


@asynccontextmanager
async def intruder(site: Site, room: str) -> AsyncIterator[None]:
    """A participant under our identity, from when it is in the room to when it is put out or leaves."""
    server = site.stack.livekit
    grants = api.VideoGrants(room_join=True, room=room)
    token = api.AccessToken(server.api_key, server.api_secret).with_identity(OURS).with_grants(grants).to_jwt()
    other, is_out = rtc.Room(), asyncio.Event()
    other.on("disconnected", lambda *_: is_out.set())
    await other.connect(server.url, token)
    try:
        yield
        async with asyncio.timeout(PATIENCE_S):
            await is_out.wait()
    finally:
        await other.disconnect()
