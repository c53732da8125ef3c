"""LiveKit or the voice says no: one clear line, an entry in the room's story, and the process lives."""

from contextlib import AsyncExitStack
from typing import Any

import pytest

from deploy.local.processes import Child, LogLine
from tests.e2e.site import PATIENCE_S, Site, new_room, until
from tests.webhook.deliveries import OTHER_SECRET

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize(
    ("env", "ending", "to_check"),
    [
        pytest.param(
            {"LIVEKIT_API_SECRET": OTHER_SECRET},
            "room_refused",
            "LIVEKIT_API_SECRET",
            id="LiveKit",
        ),
        pytest.param({"ASSEMBLYAI_API_KEY": "refused"}, "voice_refused", "ASSEMBLYAI_API_KEY", id="voice key"),
        pytest.param({"ROOMPOOL_VOICES": "nobody,noone"}, "voice_misfit", "ROOMPOOL_VOICES", id="voice"),
    ],
)
async def test_a_refusal_is_told_once_a_try_with_its_cure(
    rough: Site, env: dict[str, str], ending: str, to_check: str
) -> None:
    """It ends in one line that names the setting to look at, and `why` has it, too; the process stays ready, and leaves
    the room to others for a while."""
    room = new_room("refused")
    async with rough.caller(room) as caller, rough.hire(**env) as (worker,):
        (ended,) = await until_tried(worker, room)
        assert (ended.facts["ending"], ended.facts["level"]) == (ending, "error")
        assert to_check in ended.facts["cure"]
        story = await until(lambda: told(rough, room), f"the end of the call in the story of {room!r}")
        assert [facts["ending"] for facts in story] == [ending]
        assert to_check in story[0]["cure"]
        assert tracebacks(worker) == []
        assert await rough.readiness(worker) == 200
        assert caller.witness.heard_at is None


async def test_a_worker_that_fails_in_one_room_serves_the_next(rough: Site) -> None:
    """The voice refuses the configuration for one room; the same process carries the next room's call at once, and
    another worker, or itself a while later, the first one's when the fault is mended."""
    room, served = new_room("refused"), new_room("served")
    async with rough.hire() as (worker,), AsyncExitStack() as calls:
        async with rough.faults(refuse_voice=True):
            caller = await calls.enter_async_context(rough.caller(room))
            await until_tried(worker, room)
        async with rough.caller(served) as another:
            await another.agent_heard(PATIENCE_S)
        async with rough.hire() as (_fresh,):
            await caller.agent_heard(PATIENCE_S)
            await caller.hang_up()
        assert {line.facts["ending"] for line in worker.events("call_ended", room=room)} == {"voice_misfit"}


async def test_a_voice_that_is_withdrawn_is_replaced_by_the_next_one(rough: Site) -> None:
    """The first of ROOMPOOL_VOICES is unknown to the vendor: the caller hears the second, in the same call."""
    room = new_room("fall-back")
    async with rough.hire(ROOMPOOL_VOICES="nobody,michael"), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        (voice,) = await rough.voice_sessions_of(room)
        assert voice_of(voice) == "michael"
        assert len(rough.claims(room)) == 1


async def until_tried(worker: Child, room: str) -> list[LogLine]:
    """Wait until a first call in the room has ended, and return its line."""

    async def look() -> list[LogLine]:
        return worker.events("call_ended", room=room)[:1]

    return await until(look, f"a try in {room!r}")


async def told(site: Site, room: str) -> list[dict[str, Any]]:
    """What the room's story says of calls that ended."""
    story = (await site.ask("why", room, "--json"))["story"]
    return [line["facts"] for line in story if line["event"] == "ended"]


def tracebacks(worker: Child) -> list[str]:
    return [line.text for line in worker.lines() if "exception" in line.facts or "Traceback" in line.text]


def voice_of(report: dict[str, Any]) -> str:
    return str(report["config"]["output"]["voice"])
