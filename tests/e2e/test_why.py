"""`roompool why ROOM` tells the whole story: of a call, and of rooms that get no agent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from livekit import api, rtc

from tests.e2e.conftest import SiteFactory
from tests.e2e.site import PATIENCE_S, Site, message, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def guest(
    site: Site, room: str, *, identity: str, can_publish: bool = True, hidden: bool = False
) -> AsyncIterator[rtc.Room]:
    """Somebody in a room, by a token with these rights and no others."""
    server = site.stack.livekit
    grants = api.VideoGrants(room_join=True, room=room, can_publish=can_publish, hidden=hidden)
    token = api.AccessToken(server.api_key, server.api_secret).with_identity(identity).with_grants(grants)
    connected = rtc.Room()
    await connected.connect(server.url, token.with_ttl(timedelta(seconds=90)).to_jwt())
    try:
        yield connected
    finally:
        await connected.disconnect()


async def told(site: Site, room: str, event: str, *, number: int = 1) -> list[dict[str, Any]]:
    """Wait until the story has so many lines of an event; returns those lines, as `--json` gives them."""

    async def look() -> list[Any]:
        found = [line for line in await site.story(room) if line.event == event]
        return found if len(found) >= number else []

    await until(look, f"{number} x {event} in the story of {room!r}")
    answer = await site.ask("why", room, "--json")
    return [line for line in answer["story"] if line["event"] == event]


async def test_the_story_of_a_call_from_the_webhook_to_its_end(calm: Site) -> None:
    """Every step in words, with facts that are names and numbers; neither who it was nor what was said."""
    room = new_room("story")
    async with calm.caller(room, identity="anna-of-the-test") as caller:
        await caller.agent_heard(PATIENCE_S)
        answer = await calm.ask("why", room, "--json")
        assert answer["sentence"].startswith("There is an agent: ")
    await told(calm, room, "ended")
    answer = await calm.ask("why", room, "--json")
    events = [line["event"] for line in answer["story"]]
    assert {"webhook", "arrived", "waiting", "claimed", "joined", "voice_ready", "first_sound", "ended"} <= set(events)
    assert "own_agent" in [line["facts"].get("reason") for line in answer["story"]]  # LiveKit tells of ours, too
    texts = [line["text"] for line in answer["story"]]
    assert any("the caller left, after" in text for text in texts)
    assert not any("anna" in text for text in (*texts, *map(str, answer["story"])))
    assert answer["sentence"].startswith("No agent: ")


async def test_a_webhook_that_is_repeated_is_told_as_such(calm: Site) -> None:
    """LiveKit repeats what it got no answer to; whoever reads the story sees that it changed nothing."""
    room = new_room("again")
    async with calm.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        said = await calm.joined_message(room, caller)
        assert [await calm.post(said), await calm.post(said)] == [200, 200]
        lines = await told(calm, room, "webhook", number=3)
        assert [line["text"].startswith("LiveKit repeated") for line in lines] == [False, False, True]
        assert len(calm.claims(room)) == 1


async def test_a_room_that_is_not_in_the_list_says_which_setting_it_is(site_factory: SiteFactory) -> None:
    """And a caller who may not speak, by which right: nobody has to look into three logs for it."""
    ours, theirs = new_room("call"), new_room("other")
    rules = {"ROOMPOOL_ROOMS": "call-*"}
    async with site_factory(workers=0, webhook_env=rules) as site:
        async with (
            site.caller(theirs),
            guest(site, ours, identity="listener", can_publish=False),
            guest(site, ours, identity="ghost", hidden=True),
        ):
            (line,) = await told(site, theirs, "webhook_ignored")
            assert line["facts"]["reason"] == "room_not_wanted"
            answer = await site.ask("why", theirs, "--json")
            assert answer["state"] is None
            assert answer["sentence"].startswith("No agent: ")
            assert "ROOMPOOL_ROOMS of the receiver does not name this room" in answer["sentence"]

            lines = await told(site, ours, "webhook_ignored", number=2)
            assert {line["facts"]["reason"] for line in lines} == {"may_not_publish", "hidden"}
        async with site.redis() as redis:
            assert await redis.keys(f"roompool:why:{theirs}") == []


async def test_ignored_rooms_without_number_leave_one_key_in_redis(calm: Site) -> None:
    """A thousand rooms that are none of ours cost the rooms that are nothing."""
    told_of = message("participant_joined", {"name": "x", "sid": "RM_x"}, {"sid": "PA_x", "identity": "voice-agent"})
    rooms = [new_room("flood") for _ in range(200)]
    for room in rooms:
        assert await calm.post({**told_of, "room": {"name": room, "sid": f"RM_{room}"}}) == 204
    assert await told(calm, rooms[-1], "webhook_ignored")
    async with calm.redis() as redis:
        assert [key for key in await redis.keys("roompool:*") if "flood" in key] == []
