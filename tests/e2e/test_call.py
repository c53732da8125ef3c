"""One call from end to end, undisturbed."""

import pytest

from bridge.caller.wav import hello, interruption
from deploy.local.processes import Child
from tests.e2e.site import PATIENCE_S, Site, marks, new_room, troubles, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

STORY = ("waiting", "claimed", "joined", "first_sound", "released")
"""Steps that come in this order, and the caller's arrival before any of them, or, where the agent is sent for when the
room opens, before the first sound. The voice is dialled while joining, so which of the two is first is open; and two
carriers of news, the worker and LiveKit, tell of the end: a webhook that comes second has nothing left to tell."""


async def test_join_talk_barge_in_hang_up(calm: Site, workers: list[Child]) -> None:
    """The agent greets, answers, falls silent when interrupted, and leaves when the caller does; it is one all along.

    Its voice session is ended by `session.end` and broke no rule, and no process has anything to complain of.
    """
    room, since = new_room("talk"), marks(calm.stack)
    async with calm.faults(long_reply=True), calm.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        await caller.until_agent_silent(800, PATIENCE_S)
        asked = await caller.say(hello())
        answered_at = await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        interrupted = await caller.say(interruption())
        silent_at = await caller.fell_silent(interrupted.started_at, 300, PATIENCE_S)
        await caller.hang_up()
    assert asked.ended_at < answered_at < interrupted.started_at < silent_at
    await calm.until_no_agent(room)
    worker, _ = await calm.claimed(room, workers)
    ended = await worker.wait_event("call_ended", room=room, timeout_s=PATIENCE_S)
    assert ended.facts["ending"] == "caller_left"
    assert ended.facts["heard_ms"] > 0

    witness = caller.witness
    assert (witness.agents_max, len(witness.stays), witness.audible_max) == (1, 1, 1)
    assert witness.stays[0].left_at is None
    assert len(calm.claims(room)) == 1
    (voice,) = await calm.until_voice_ended(room)
    assert voice["violations"] == {}
    # A caller whose words come in fits, on a machine that is full, cuts in twice with them.
    assert voice["interruptions"] == ended.facts["barge_ins"] >= 1
    assert troubles(calm.stack, since=since) == []


async def test_why_tells_the_story_of_a_call(calm: Site) -> None:
    """`roompool why ROOM --json` has each step of a call that is over, in the order in which they came."""
    room = new_room("why")
    async with calm.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
    await calm.until_no_agent(room)

    async def told() -> bool:
        return {"released", "ended"} <= {one.event for one in await calm.story(room)}

    await until(told, "the end of the story")
    answer = await calm.ask("why", room, "--json")
    events = [line["event"] for line in answer["story"]]
    first = [events.index(step) for step in STORY]
    assert first == sorted(first), events
    assert events.index("arrived") < events.index("waiting" if "expected" not in events else "first_sound"), events
    assert events.index("claimed") < events.index("voice_ready") < events.index("first_sound"), events
    claim = answer["story"][events.index("claimed")]["facts"]
    ended = answer["story"][events.index("ended")]["facts"]
    assert (claim["attempt"], ended["ending"], ended["carrier"]) == ("1", "caller_left", claim["carrier"])
    assert answer["state"]["standing"] in ("absent", "finished")
    times = [line["at_unix_ms"] for line in answer["story"]]
    assert times == sorted(times)
