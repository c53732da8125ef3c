"""What a call tells its journal, and how a call begins that knows what was said before."""

import asyncio

import pytest

from bridge import Opening, Said
from bridge.caller.wav import hello, interruption
from bridge.simulator import Faults
from tests.bridge.harness import Harness

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(120)]

KNOWN = (Said("caller", "A table for two."), Said("agent", "For which", 420))


async def test_every_finished_turn_is_told_in_order(harness: Harness) -> None:
    """The greeting, what the caller said, the answer: each once, when it was finished."""
    async with harness.caller() as caller, harness.call():
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        await caller.say(hello())
        await harness.owner.until_so(lambda: len(harness.owner.turns) == 3)
    assert [turn.who for turn in harness.owner.turns] == ["agent", "caller", "agent"]
    assert all(turn.text and turn.cut_ms is None for turn in harness.owner.turns)


async def test_a_turn_that_was_cut_off_says_after_how_much_of_it(harness: Harness) -> None:
    """As the caller heard it: what we had handed over less what the room had not sent yet."""
    harness.simulator.faults = Faults(long_reply=True)
    async with harness.caller() as caller, harness.call():
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        said = await caller.say(hello())
        audible_at = await caller.until_agent_audible(since=said.ended_at)
        cut = await caller.say(interruption())
        silent_at = await caller.fell_silent(cut.started_at, for_ms=300)
        await harness.owner.until_so(lambda: any(turn.cut_ms is not None for turn in harness.owner.turns))
    (turn,) = (turn for turn in harness.owner.turns if turn.cut_ms is not None)
    assert turn.who == "agent"
    assert turn.cut_ms is not None
    # Less what the caller needed to hear it, more the silence it began with.
    assert abs(turn.cut_ms / 1000 - (silent_at - audible_at)) < 1.5


async def test_an_agent_that_returns_says_so_instead_of_greeting_and_knows_what_was_said(harness: Harness) -> None:
    """The caller of a lost agent hears one short sentence; the recap stands in the prompt."""
    async with harness.caller() as caller, harness.call(harness.spec(opening=Opening.RETURN, memory=KNOWN)):
        await caller.agent_heard()
        await harness.owner.until_so(lambda: bool(harness.owner.turns))
    config = harness.simulator.sessions()[0].config or {}
    assert config["greeting"] == "Here again."
    assert str(config["system_prompt"]).endswith(
        'caller: "A table for two."\nagent (cut off after 420 ms): "For which"'
    )


async def test_an_agent_that_returns_to_a_talk_that_had_not_begun_greets(harness: Harness) -> None:
    """Nothing was said before: for this caller it is the first agent."""
    async with harness.caller() as caller, harness.call(harness.spec(opening=Opening.RETURN)):
        await caller.agent_heard()
    config = harness.simulator.sessions()[0].config or {}
    assert (config["greeting"], config["system_prompt"]) == ("Hello.", "You are a test.")


async def test_a_broken_voice_link_is_told_what_was_said_before_this_owner_and_since(harness: Harness) -> None:
    """One memory for both: the recap of a later voice session goes back to the beginning of the talk."""
    async with harness.caller() as caller, harness.call(harness.spec(opening=Opening.RETURN, memory=KNOWN)):
        await caller.agent_heard()
        await harness.owner.until_so(lambda: bool(harness.owner.turns))
        await caller.until_agent_silent(for_ms=400)
        harness.simulator.drop()
        await harness.owner.until("voice_ready", count=2)
    config = harness.simulator.sessions()[1].config or {}
    assert not config["greeting"]
    assert 'A table for two."\nagent (cut off after 420 ms): "For which"\nagent: ' in str(config["system_prompt"])


async def test_a_quiet_moment_is_told_when_the_agent_is_done_and_ends_with_the_callers_voice(harness: Harness) -> None:
    """Not between a question and its answer, and not before the last of the agent's words was played."""
    async with harness.caller() as caller, harness.call():
        await caller.agent_heard()
        assert not harness.owner.is_quiet
        await harness.owner.until_so(lambda: harness.owner.is_quiet)
        quiet_at = asyncio.get_running_loop().time()
        assert await caller.until_agent_silent(for_ms=400) < quiet_at + 1.0
        await caller.say(hello())
        await harness.owner.until_so(lambda: harness.owner.quiets == [True, False, True])
    assert [turn.who for turn in harness.owner.turns] == ["agent", "caller", "agent"]
