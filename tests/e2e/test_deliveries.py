"""Webhooks that come a hundred times, forged, late, or in the wrong order."""

import asyncio

import pytest
from google.protobuf.json_format import MessageToDict
from livekit import api

from bridge.caller.wav import hello
from deploy.local.processes import Child
from pool.registry import Standing
from tests.e2e.site import PATIENCE_S, Site, message, new_room
from tests.webhook.deliveries import CALLER, OTHER_SECRET, ROOM

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

COPIES = 100


async def test_a_hundred_webhooks_of_one_join_bring_one_agent(rough: Site) -> None:
    """Two workers wake up to 101 jobs for one room: one of them claims it, once, and opens one voice session."""
    room = new_room("hundred")
    async with rough.hire(2) as workers, rough.caller(room) as caller:
        for worker in workers:
            worker.freeze()  # so that the whole heap lies there when they go on
        said = await rough.joined_message(room, caller)
        async with asyncio.TaskGroup() as group:
            posts = [group.create_task(rough.post(said), name=f"copy_{number}") for number in range(COPIES)]
        assert {post.result() for post in posts} == {200}
        await rough.stack.webhook.wait_event("delivery", room=room, livekit_event="participant_joined")
        for worker in workers:
            worker.thaw()
        await caller.agent_heard(PATIENCE_S)
        asked = await caller.say(hello())
        await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        assert (caller.witness.agents_max, len(caller.witness.stays)) == (1, 1)
        assert len(rough.claims(room)) == 1
        assert sum([(await rough.metrics(worker))["roompool_voice_sessions_total"] for worker in workers]) == 1
        await caller.hang_up()
        assert len(await rough.until_voice_ended(room)) == 1


async def test_a_forged_webhook_is_refused_and_changes_nothing(calm: Site) -> None:
    """401 for a body signed with another secret, or altered since it was signed; the room stays unknown."""
    room = new_room("forged")
    said = message("participant_joined", {**ROOM, "name": room, "sid": f"RM_{room}"}, CALLER)
    assert await calm.post(said, secret=OTHER_SECRET) == 401
    refused = await calm.stack.webhook.wait_event("delivery", outcome="bad_signature")
    assert refused.facts["reason"] == "forged"
    assert await calm.look(room) is None
    assert calm.claims(room) == []


async def test_a_replayed_webhook_of_a_room_that_is_over_brings_nobody(calm: Site, workers: list[Child]) -> None:
    """The join of an ended room, delivered once more, is taken and does nothing: no agent, no ghost of the room."""
    room = new_room("replayed")
    async with calm.caller(room) as caller:
        said = await calm.joined_message(room, caller)
        await caller.agent_heard(PATIENCE_S)
    await calm.stack.webhook.wait_event("delivery", room=room, livekit_event="room_finished", timeout_s=PATIENCE_S)
    await calm.until_standing(room, Standing.FINISHED)
    assert await calm.post(said) == 200
    await serve_somebody_else(calm)
    assert len(calm.claims(room)) == 1
    assert room not in await calm.room_names()
    state = await calm.until_standing(room, Standing.FINISHED)
    assert state.callers == {}


@pytest.mark.parametrize("end", ["participant_left", "room_finished"])
async def test_an_end_that_overtakes_the_join_keeps_the_agent_away(calm: Site, end: str) -> None:
    """When the end of a stay, or of the room, is delivered before its beginning, nobody joins and no room is made."""
    room = new_room(end)
    facts = {**ROOM, "name": room, "sid": f"RM_{room}"}
    who = {**CALLER, "sid": f"PA_{room}"}
    assert await calm.post(message(end, facts, who if end == "participant_left" else None)) == 200
    assert await calm.post(message("participant_joined", facts, who)) == 200
    await serve_somebody_else(calm)
    assert calm.claims(room) == []
    assert room not in await calm.room_names()
    state = await calm.look(room)
    # An end of a room that nobody named leaves nothing but its tombstone.
    assert state is None or state.standing is Standing.ABSENT


async def test_joins_in_the_wrong_order_leave_the_caller_who_is_there(calm: Site, workers: list[Child]) -> None:
    """A caller who left and came back is served, also when the news of the first stay come last."""
    room = new_room("reordered")
    async with calm.caller(room, identity="anna") as first:
        late = await calm.joined_message(room, first)
        await first.agent_seen(PATIENCE_S)
    left = {**late, "event": "participant_left", "id": late["id"] + "L"}
    async with calm.caller(room, identity="anna") as second:
        await second.agent_heard(PATIENCE_S)
        assert [await calm.post(late), await calm.post(left), await calm.post(late)] == [200, 200, 200]
        await serve_somebody_else(calm)
        assert len(second.witness.present) == 1
        assert second.witness.agents_max == 1
        state = await calm.until_standing(room, Standing.OWNED)
        listed = MessageToDict(await participant(calm, room, "anna"))
        assert set(state.callers) == {listed["sid"]}


async def participant(site: Site, room: str, identity: str) -> api.ParticipantInfo:
    return next(one for one in await site.participants(room) if one.identity == identity)


async def serve_somebody_else(site: Site) -> None:
    """A genuine call, later than everything before it: the workers have seen what was to be seen."""
    async with site.caller(new_room("later")) as caller:
        await caller.agent_seen(PATIENCE_S)
