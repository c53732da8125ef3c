"""Somebody else joins rooms under the agent's identity."""

import asyncio
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from livekit import api
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from pool.registry import Standing
from tests.e2e.site import END_S, PATIENCE_S, Site, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

OURS = "voice-agent"


async def test_an_agent_that_is_put_out_once_comes_back(rough: Site) -> None:
    """The lease is ours, so the room is: the voice session goes on, and nothing is greeted again."""
    room = new_room("intruder")
    async with rough.hire(), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        await caller.until_agent_silent(800, PATIENCE_S)
        await intrude(rough, room)
        await until_told(rough, room, "rejoined", 1)
        await caller.agent_seen(PATIENCE_S, since=caller.witness.stays[0].seen_at + 0.001)
        assert len(await rough.voice_sessions_of(room)) == 1
        assert len(rough.claims(room)) == 1
        await caller.hang_up()


async def test_an_agent_that_is_put_out_again_and_again_lets_the_room_rest(rough: Site) -> None:
    """Three times within a minute: somebody uses our identity, and `why` says so with the cure."""
    room = new_room("contested")
    async with rough.hire() as (worker,), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        for times in (1, 2):
            await intrude(rough, room)
            await until_told(rough, room, "rejoined", times)
        await intrude(rough, room, limit_s=2.0)  # nobody puts this one out any more
        ended = await worker.wait_event("call_ended", room=room, timeout_s=PATIENCE_S)
        assert (ended.facts["ending"], ended.facts["level"]) == ("identity_taken", "error")
        assert "ROOMPOOL_AGENT_IDENTITY" in ended.facts["cure"]
        await rough.until_standing(room, Standing.RESTED)
        told = await rough.ask("why", room, "--json")
        assert "identity_taken" in str(told)
        assert "ROOMPOOL_AGENT_IDENTITY" in str(told)
        assert len(rough.claims(room)) == 1
        assert all(one["ended_by_session_end"] for one in await rough.until_voice_ended(room))


async def until_told(site: Site, room: str, event: str, times: int) -> None:
    """Wait until the room's story has this event so often."""

    async def is_told() -> bool:
        return [one.event for one in await site.story(room)].count(event) >= times

    await until(is_told, f"{event!r} {times} times in the story of {room!r}")


async def intrude(site: Site, room: str, *, limit_s: float = END_S) -> None:
    """Somebody joins under our identity, and is in the room until the agent is back and puts it out.

    By signalling alone: an SDK that is put out in the middle of its join tries again by itself.
    """
    server = site.stack.livekit
    grants = api.VideoGrants(room_join=True, room=room)
    token = api.AccessToken(server.api_key, server.api_secret).with_identity(OURS).with_grants(grants).to_jwt()
    query = urlencode({"access_token": token, "protocol": 15, "auto_subscribe": 0})
    async with connect(f"{server.url}/rtc?{query}", proxy=None) as signalling:
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(limit_s):
                async for _ in signalling:
                    pass
