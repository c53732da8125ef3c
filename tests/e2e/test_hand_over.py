"""SIGTERM during a call: another worker takes it over while the caller talks on."""

import asyncio

import pytest

from bridge.caller.caller import Caller
from bridge.caller.wav import hello
from bridge.simulator.lines import MARK
from pool.registry import Standing
from tests.e2e.site import END_S, PATIENCE_S, Site, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

AT_ONCE = {"ROOMPOOL_HANDOVER_AFTER_S": "0"}
GAP_S = 5.0
"""On a machine that does much else meanwhile; what it is on an idle one is measured, not tested."""


async def test_a_call_goes_on_at_another_worker(rough: Site) -> None:
    """No word is said on account of it, no two agents are heard; the old worker ends its voice session and exits 0; the
    new one knows what was said before."""
    room = new_room("handed")
    async with rough.hire(**AT_ONCE) as (leaving,), rough.caller(room) as caller:
        await is_answered(caller)
        _, claim = await rough.claimed(room, [leaving])
        async with rough.hire() as (staying,):
            await caller.until_agent_silent(800, PATIENCE_S)
            asked_at = asyncio.get_running_loop().time()
            leaving.ask_to_end()
            passed = await staying.wait_event("passed_to_us", room=room, timeout_s=PATIENCE_S)
            assert passed.facts["new_fence"] > claim.facts["fence"]
            assert await leaving.wait_ended(timeout_s=END_S) == 0
            stay = await caller.agent_seen(PATIENCE_S, since=asked_at)
            await caller.stay(1.0)
            assert caller.witness.heard_between(asked_at, caller.known_until()) == 0
            await is_answered(caller)
            old, new = caller.witness.stays
            assert stay is new
            assert (caller.witness.agents_max, caller.witness.audible_max, caller.witness.overlap_s()) == (1, 1, 0)
            assert old.hearing.last_frame_at is not None and new.subscribed_at is not None
            assert new.subscribed_at - old.hearing.last_frame_at < GAP_S
            first, second = await rough.voice_sessions_of(room)
            assert first["ended_by_session_end"]
            assert second["config"]["greeting"] is None
            assert second["config"]["system_prompt"].count(MARK) >= 3
            assert len(rough.claims(room)) == 1
            await caller.hang_up()
            await staying.wait_event("call_ended", room=room, ending="caller_left", timeout_s=PATIENCE_S)
    ended = leaving.events("call_ended", room=room)
    assert [line.facts["ending"] for line in ended] == ["passed"]


async def test_a_call_in_mid_sentence_is_handed_over_when_it_ends(rough: Site) -> None:
    """The caller hears the sentence out, from the agent that began it."""
    room = new_room("sentence")
    async with rough.hire(**AT_ONCE) as (leaving,), rough.caller(room) as caller:
        await is_answered(caller)
        async with rough.hire() as (staying,):
            leaving.ask_to_end()
            await staying.wait_event("passed_to_us", room=room, timeout_s=PATIENCE_S)
            assert await leaving.wait_ended(timeout_s=END_S) == 0
            (first, _) = await rough.voice_sessions_of(room)
            assert first["interruptions"] == 0
            await is_answered(caller)
            assert caller.witness.overlap_s() == 0
            await caller.hang_up()


async def test_what_is_said_while_the_next_one_waits_is_known_to_it(rough: Site) -> None:
    """Turns between the offer and the pass reach the new voice session by an update, and none is lost."""
    room = new_room("meanwhile")
    async with rough.hire(**AT_ONCE) as (leaving,), rough.caller(room) as caller:
        await is_answered(caller)
        async with rough.hire() as (staying,):
            await rough.speak_long(caller)
            leaving.ask_to_end()
            await staying.wait_event("stood_ready", room=room, timeout_s=PATIENCE_S)
            await caller.say(hello())  # cuts in
            await staying.wait_event("passed_to_us", room=room, timeout_s=PATIENCE_S)
            assert await leaving.wait_ended(timeout_s=END_S) == 0
            await is_answered(caller)

            async def knows_all() -> bool:
                second = (await rough.voice_sessions_of(room))[-1]
                return bool(second["config"]["system_prompt"].count(MARK) >= 4)

            await until(knows_all, "a prompt with the turns since")
            await caller.hang_up()


async def test_without_a_second_voice_session_the_call_stays(rough: Site) -> None:
    """The vendor refuses one more: the caller notices nothing, and the worker ends with the call."""
    room = new_room("one-voice")
    async with rough.hire(**AT_ONCE) as (leaving,), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        async with rough.hire() as (staying,), rough.faults(concurrency_limit=1):
            leaving.ask_to_end()
            await staying.wait_event("stood_by_in_vain", room=room, result="failed", timeout_s=PATIENCE_S)
            await is_answered(caller)
            assert len(caller.witness.stays) == 1
            await caller.hang_up()
            assert await leaving.wait_ended(timeout_s=END_S) == 0
            assert len(rough.claims(room)) == 1
            ended = leaving.events("call_ended", room=room)
            assert [line.facts["ending"] for line in ended] == ["caller_left"]


async def test_with_nobody_else_the_call_stays_until_its_caller_leaves(rough: Site) -> None:
    """A hand-over is no reason to drop a call."""
    room = new_room("alone")
    async with rough.hire(**AT_ONCE) as (leaving,), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        leaving.ask_to_end()
        await leaving.wait_event("hand_over_failed", room=room, reason="nobody", timeout_s=PATIENCE_S)
        await is_answered(caller)
        await caller.hang_up()
        assert await leaving.wait_ended(timeout_s=END_S) == 0
        assert len(caller.witness.stays) == 1


async def test_the_next_owner_dies_after_the_pass(rough: Site) -> None:
    """That is the ordinary end of a lease: a third worker goes on, and the caller never hears two."""
    room = new_room("relay")
    async with rough.hire(**AT_ONCE) as (leaving,), rough.caller(room) as caller:
        await is_answered(caller)
        async with rough.hire() as (next_one,):
            leaving.ask_to_end()
            await next_one.wait_event("passed_to_us", room=room, timeout_s=PATIENCE_S)
            await next_one.kill()
            killed_at = asyncio.get_running_loop().time()
            async with rough.hire():
                await rough.until_standing(room, Standing.OWNED)
                await caller.agent_heard(PATIENCE_S, since=killed_at)
                assert (caller.witness.agents_max, caller.witness.audible_max) == (1, 1)
                await caller.hang_up()


async def is_answered(caller: Caller) -> None:
    """The caller asks, and an agent answers."""
    await caller.until_agent_silent(800, PATIENCE_S)
    asked = await caller.say(hello())
    await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
