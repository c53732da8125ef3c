"""LiveKit's list is the guarantee: rooms made anew, and agents of ours that nobody holds a lease for. No webhooks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit import api, rtc

from bridge.tokens import agent_token
from tests.e2e.conftest import SiteFactory
from tests.e2e.site import PATIENCE_S, Site, new_room, until
from tests.e2e.test_why import guest

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180)]


async def test_a_room_made_anew_ends_the_old_call_and_begins_another(site_factory: SiteFactory) -> None:
    """Deleted, and joined again under the same name: the old call's voice session is ended, the new caller has an
    agent, and never were there two."""
    room = new_room("anew")
    async with site_factory(webhooks=False, workers=2) as site:
        async with site.caller(room) as caller:
            await caller.agent_heard(PATIENCE_S)
            old = await site.look(room)
            await site.livekit.room.delete_room(api.DeleteRoomRequest(room=room))
            async with site.caller(room) as again:
                await again.agent_heard(PATIENCE_S)
                new = await site.look(room)
                assert old is not None
                assert new is not None
                assert new.sid != old.sid
                assert again.witness.agents_max == 1
                first, *_ = await site.voice_sessions_of(room)
                assert first["ended_by_session_end"]
                assert len(site.claims(room)) == 2
                await again.hang_up()
        assert site.stack.webhook.events("delivery") == []


async def test_an_agent_of_ours_without_a_lease_is_put_out(site_factory: SiteFactory) -> None:
    """Its room has nobody to serve, so nobody claims it: two passes of the list, then RemoveParticipant.

    Whoever else is there stays, another agent too; and an agent at work in a room of its own is left alone.
    """
    room, busy = new_room("stray"), new_room("busy")
    async with site_factory(webhooks=False, workers=2) as site, site.caller(busy) as caller:
        await caller.agent_heard(PATIENCE_S)
        async with (
            guest(site, room, identity="listener", can_publish=False),
            an_agent(site, room, "somebody-elses"),
            an_agent(site, room, "voice-agent") as stray,
        ):
            out = asyncio.Event()
            stray.on("disconnected", lambda _reason: out.set())
            async with asyncio.timeout(PATIENCE_S):
                await out.wait()

            async def told() -> bool:
                return "stray_removed" in {line.event for line in await site.story(room)}

            await until(told, "the removal in the story")
            identities = {one.identity for one in await site.participants(room)}
            assert identities == {"listener", "somebody-elses"}
        answer = await site.ask("why", room, "--json")
        (line,) = [line for line in answer["story"] if line["event"] == "stray_removed"]
        assert line["facts"]["fence"] == "4711"
        assert (caller.witness.agents_max, len(caller.witness.stays)) == (1, 1)
        assert len(site.claims(busy)) == 1
        await caller.hang_up()


@asynccontextmanager
async def an_agent(site: Site, room: str, identity: str) -> AsyncIterator[rtc.Room]:
    """Somebody who comes in with a token as our workers make them, under this identity."""
    server = site.stack.livekit
    fence = {"roompool.fence": "4711"}
    token = agent_token(server.api_key, server.api_secret, room=room, identity=identity, name="Agent", attributes=fence)
    connected = rtc.Room()
    await connected.connect(server.url, token)
    try:
        yield connected
    finally:
        await connected.disconnect()
