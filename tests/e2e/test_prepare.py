"""ROOMPOOL_PREPARE=room_started: the agent is sent for when LiveKit opens the room."""

from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from livekit import api

from deploy.local.stack import Stack, StackOptions
from tests.e2e.site import PATIENCE_S, Site, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def eager(tmp_path_factory: pytest.TempPathFactory, settings: Mapping[str, str]) -> AsyncIterator[Site]:
    """One worker, and a receiver that does not wait for the caller."""
    options = StackOptions(
        run_dir=tmp_path_factory.mktemp("eager"),
        workers=1,
        webhook_env={"ROOMPOOL_PREPARE": "room_started"},
        settings=settings,
    )
    async with Stack.start(options) as stack, Site.on(stack) as site:
        yield site


async def test_the_agent_is_sent_for_before_its_caller_is_in(eager: Site) -> None:
    """The room's opening leads to the claim; the caller finds one agent, and is greeted by it."""
    room = new_room("prepared")
    async with eager.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        assert len(caller.witness.stays) == 1
    await eager.until_no_agent(room)

    events = [one.event for one in await eager.story(room)]
    assert events[0] == "expected"
    assert events.count("claimed") == 1
    assert events.index("expected") < events.index("claimed") < events.index("first_sound")


async def test_an_agent_that_nobody_joins_leaves_and_comes_back_with_the_caller(eager: Site) -> None:
    """A room made in advance costs a visit, and no caller of it is the worse for that."""
    room = new_room("advance")
    await eager.livekit.room.create_room(api.CreateRoomRequest(name=room))

    async def left() -> bool:
        return any(one.event == "released" for one in await eager.story(room))

    await until(left, "the agent of an empty room to leave")
    async with eager.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
    (worker,) = eager.stack.workers

    async def both_ended() -> bool:
        return len(worker.events("call_ended", room=room)) == 2

    await until(both_ended, "the second call to end")
    first, second = worker.events("call_ended", room=room)
    assert (first.facts["ending"], second.facts["ending"]) == ("nobody_there", "caller_left")
