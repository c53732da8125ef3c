"""One call as `carry` carries it: a real room, the voice simulator, and a synthetic caller as witness inside."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from livekit import api, rtc

from bridge import Ending
from bridge.caller.wav import hello, interruption
from bridge.simulator import Faults
from bridge.simulator.lines import line_for
from bridge.tokens import caller_token
from tests.bridge.harness import Harness

GREETING_FRAMES = len(line_for("Hello.").frames)

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(120)]


async def test_a_call_greets_listens_answers_and_ends_with_its_caller(harness: Harness) -> None:
    """The whole of a call, from the greeting to `session.end`, with one agent throughout."""
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        said = await caller.say(hello())
        await caller.until_agent_audible(since=said.ended_at)
        await caller.hang_up()
        outcome = await call
    assert outcome.ending is Ending.CALLER_LEFT
    assert (outcome.voice_sessions, caller.witness.agents_max) == (1, 1)
    assert outcome.replies >= 2
    assert len(outcome.served) == 1
    assert outcome.heard_ms >= 1000 * (said.ended_at - said.started_at)
    assert harness.owner.story.count("caller_heard") == 1
    assert harness.simulator.sessions()[0].ended_by_session_end


async def test_the_greeting_waits_for_a_caller_who_subscribes_late(harness: Harness) -> None:
    """The voice has sent all of it by then: said to nobody, it would be lost."""
    late = rtc.Room()
    token = caller_token(harness.livekit.api_key, harness.livekit.api_secret, room=harness.room, identity="late")
    await late.connect(harness.livekit.url, token, rtc.RoomOptions(auto_subscribe=False))
    async with harness.call():
        await harness.simulator.until(lambda sessions: bool(sessions) and sessions[0].frames_sent >= GREETING_FRAMES)
        assert "first_sound" not in harness.owner.story
        (agent,) = late.remote_participants.values()
        (publication,) = agent.track_publications.values()
        publication.set_subscribed(True)
        await harness.owner.until("first_sound")
    await late.disconnect()


async def test_an_agent_that_is_cut_in_on_falls_silent(harness: Harness) -> None:
    """Barge-in: while a long reply plays the caller speaks, and hears nothing more of it."""
    harness.simulator.faults = Faults(long_reply=True)
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        said = await caller.say(hello())
        await caller.until_agent_audible(since=said.ended_at)
        cut = await caller.say(interruption())
        await caller.fell_silent(cut.started_at, for_ms=300)
        await caller.hang_up()
        outcome = await call
    assert outcome.barge_ins == 1
    assert harness.simulator.sessions()[0].interruptions == 1


async def test_the_first_words_are_heard_though_the_voice_was_not_ready(harness: Harness) -> None:
    """What a caller says while the voice takes its time is kept and answered."""
    harness.simulator.faults = Faults(slow_ready_ms=4000)
    spec = harness.spec()
    async with harness.caller() as caller, harness.call(spec):
        await harness.owner.until("joined")
        await caller.say(hello())
        await harness.simulator.until(lambda sessions: sessions[0].turns == 1, limit_s=20)


async def test_a_broken_voice_link_is_renewed_within_the_call(harness: Harness) -> None:
    """A fresh voice session goes on without a second greeting; the caller's room never changes."""
    harness.simulator.faults = Faults(drop_after_ms=2500, sessions=1)
    async with harness.caller() as caller, harness.call() as call:
        await harness.owner.until("voice_ready", count=2)
        await caller.until_agent_silent(for_ms=400)
        said = await caller.say(hello())
        await caller.until_agent_audible(since=said.ended_at)
        await caller.hang_up()
        outcome = await call
    assert (outcome.ending, outcome.voice_sessions) == (Ending.CALLER_LEFT, 2)
    first, second = harness.simulator.sessions()
    assert (first.config or {}).get("greeting")
    assert not (second.config or {}).get("greeting")


async def test_nothing_is_said_by_an_agent_who_may_not_speak(harness: Harness) -> None:
    """Not sure of the room, the agent stays and is silent: every frame is counted, none is heard."""
    harness.owner.speak = False
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_seen()
        await harness.simulator.until(lambda sessions: sessions[0].frames_sent > 100)
        await caller.hang_up()
        outcome = await call
    assert caller.witness.audible_max == 0
    assert outcome.frames_muted > 0


async def test_an_agent_who_may_not_join_does_not(harness: Harness) -> None:
    """The lease decides who may join."""
    harness.owner.join = False
    outcome = await harness.carry(harness.spec())
    assert (outcome.ending, outcome.joined_ms) == (Ending.LEASE_LOST, None)


async def test_nobody_there_ends_the_call(harness: Harness) -> None:
    """A caller who hung up before the agent came costs no conversation."""
    outcome = await harness.carry(harness.spec(nobody_s=0.3))
    assert outcome.ending is Ending.NOBODY_THERE


async def test_another_life_of_the_room_is_left_at_once(harness: Harness) -> None:
    """A grant for a room that was closed meanwhile does not serve its successor."""
    outcome = await harness.carry(harness.spec(sid="RM_of_another_life"))
    assert outcome.ending is Ending.WRONG_LIFE


async def test_an_agent_that_hangs_up_ends_the_call(harness: Harness) -> None:
    """The voice peer's good-bye is the agent's, and nothing is owed to the peer any more."""
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        harness.simulator.hang_up()
        outcome = await call
        await caller.agent_gone()
    assert outcome.ending is Ending.AGENT_HUNG_UP


@pytest.mark.parametrize("reason", [Ending.LEASE_LOST, Ending.STOPPED, Ending.HUNG_UP])
async def test_the_owner_ends_a_call_with_its_own_reason(harness: Harness, reason: Ending) -> None:
    """A lost lease, a drain, a person: the room is left and the voice session ended."""
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        harness.stop.ask(reason)
        outcome = await call
        await caller.agent_gone()
    assert outcome.ending is reason
    assert harness.simulator.sessions()[0].ended_by_session_end


async def test_a_room_deleted_by_the_operator_is_over(harness: Harness) -> None:
    """The server's reason decides what becomes of the room."""
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        async with api.LiveKitAPI(harness.livekit.url, harness.livekit.api_key, harness.livekit.api_secret) as server:
            await server.room.delete_room(api.DeleteRoomRequest(room=harness.room))
        outcome = await call
    assert outcome.ending is Ending.ROOM_OVER


async def test_an_agent_removed_by_the_operator_stays_out(harness: Harness) -> None:
    """Being thrown out by the API is an order, not a fault."""
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        async with api.LiveKitAPI(harness.livekit.url, harness.livekit.api_key, harness.livekit.api_secret) as server:
            await server.room.remove_participant(api.RoomParticipantIdentity(room=harness.room, identity="voice-agent"))
        outcome = await call
    assert outcome.ending is Ending.REMOVED


async def test_a_call_has_a_longest_time(harness: Harness) -> None:
    """A forgotten call costs money."""
    async with harness.caller(), harness.call(harness.spec(max_call_s=1.0)) as call:
        outcome = await call
    assert outcome.ending is Ending.LIMIT_REACHED


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        ({"secret": "another secret, thirty-two bytes or more"}, Ending.ROOM_REFUSED),
        ({"key": "refused"}, Ending.VOICE_REFUSED),
        ({"voices": ("james",)}, Ending.VOICE_MISFIT),
    ],
    ids=["livekit_secret", "voice_key", "voice"],
)
async def test_each_refusal_has_its_own_ending(harness: Harness, change: dict[str, object], ending: Ending) -> None:
    """So that the operator's line can say what to check."""
    outcome = await harness.carry(harness.spec(**change))  # type: ignore[arg-type]  # a test's keywords
    assert outcome.ending is ending


async def test_an_unknown_voice_falls_back(harness: Harness) -> None:
    """The article's voices are gone; the next in the list speaks."""
    async with harness.caller() as caller, harness.call(harness.spec(voices=("james", "anna"))):
        await caller.agent_heard()
    output = (harness.simulator.sessions()[-1].config or {})["output"]
    assert isinstance(output, Mapping)
    assert output["voice"] == "anna"


async def test_an_unreachable_livekit_is_told_from_a_refusal(harness: Harness) -> None:
    """A later attempt may help."""
    outcome = await harness.carry(replace(harness.spec(), url="ws://127.0.0.1:1"))
    assert outcome.ending is Ending.ROOM_UNREACHABLE


async def test_front_ends_see_what_the_agent_does(harness: Harness) -> None:
    """`lk.agent.state` goes through speaking and listening; it is what LiveKit's own components show."""
    async with harness.caller() as caller, harness.call():
        await caller.agent_state("speaking")
        await caller.agent_state("listening")


async def test_a_cancelled_call_leaves_the_room(harness: Harness) -> None:
    """Whoever cancels finds the room left and the cancellation going on."""
    async with harness.caller() as caller:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(harness.carry(harness.spec()))
            await caller.agent_seen()
            call.cancel()
        assert call.cancelled()
        await caller.agent_gone()


async def test_a_call_cancelled_while_it_joins_sees_the_join_through(harness: Harness) -> None:
    """A join cut short would end the whole process a quarter of a minute later: it is waited out, then undone."""
    async with harness.caller() as caller:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(harness.carry(harness.spec()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            call.cancel()
        assert call.cancelled()
        await caller.agent_gone()


async def test_while_livekit_is_out_of_reach_the_agent_asks_and_then_gives_the_room_up(harness: Harness) -> None:
    """Mute, it asks whoever grants the room; still ours after the limit, the room goes to somebody who reaches it."""
    async with harness.caller() as caller, harness.call(harness.spec(out_of_room_s=1.0)) as call:
        await caller.agent_heard()
        harness.livekit.freeze()
        try:
            await harness.owner.until("reconnecting")
            outcome = await call
        finally:
            harness.livekit.thaw()
    assert outcome.ending is Ending.ROOM_LOST


async def test_a_room_that_is_not_surely_ours_is_left_while_livekit_is_out_of_reach(harness: Harness) -> None:
    """Else the SDK's own resume would put out a successor as soon as the network is back."""
    harness.owner.confirms = False
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        harness.livekit.freeze()
        try:
            outcome = await call
        finally:
            harness.livekit.thaw()
    assert (outcome.ending, outcome.code) == (Ending.LEASE_LOST, "while_reconnecting")
