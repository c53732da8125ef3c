"""One call, two owners: the next stands by, joins on its cue, and the caller hears one agent who remembers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bridge import Ending, Opening, Outcome, Said
from bridge.caller.caller import Caller
from bridge.caller.wav import hello
from bridge.simulator import Faults
from tests.bridge.harness import Harness, Standby

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(120)]

SWAP_S = 1.5
"""How long a caller may see no agent while LiveKit puts one in the other's place."""

KNOWN = Said("caller", "My name is Okonkwo.")


@dataclass
class Two:
    """A call that goes on, and one that stands by for it."""

    caller: Caller
    first: Harness
    second: Harness
    owner: asyncio.Task[Outcome]
    successor: asyncio.Task[Outcome]
    cue: Standby

    async def pass_on(self, turns: tuple[Said, ...] = ()) -> float:
        """As the registry does it: the owner is told, and the next one gets the room. Returns when."""
        at = asyncio.get_running_loop().time()
        self.first.stop.ask(Ending.PASSED)
        self.cue.give(turns)
        await self.second.owner.until("joined")
        return at


@contextlib.asynccontextmanager
async def standing_by(harness: Harness) -> AsyncIterator[Two]:
    """A greeted caller, and a successor whose voice is ready."""
    second, cue = harness.another(), Standby()
    spec = second.spec(opening=Opening.GO_ON, memory=(KNOWN,))
    async with harness.caller() as caller, harness.call() as owner:
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        async with second.call(spec, cue) as successor:
            await cue.until_ready()
            yield Two(caller, harness, second, owner, successor, cue)


async def test_a_call_is_handed_over_and_the_caller_hears_one_agent_throughout(harness: Harness) -> None:
    """Never two are heard, an agent is there all the time but for the swap, and the next one answers."""
    async with standing_by(harness) as two:
        passed_at = await two.pass_on()
        outcome = await two.owner
        said = await two.caller.say(hello())
        await two.caller.until_agent_audible(since=said.ended_at)
        await two.caller.hang_up()
        last = await two.successor
    assert (outcome.ending, last.ending) == (Ending.PASSED, Ending.CALLER_LEFT)
    witness = two.caller.witness
    assert (witness.audible_max, witness.overlap_s()) == (1, 0)
    first, second = witness.stays
    assert first.left_at is not None
    assert second.seen_at - first.left_at < SWAP_S
    assert second.hearing.first_audible_at is not None
    assert first.hearing.last_audible_at is not None
    assert first.hearing.last_audible_at < passed_at < second.hearing.first_audible_at
    assert [session.ended_by_session_end for session in harness.simulator.sessions()] == [True, True]


async def test_the_next_owner_says_nothing_first_and_knows_what_was_said(harness: Harness) -> None:
    """The recap stands in its prompt from the start; the turns since are added when the room is its own."""
    async with standing_by(harness) as two:
        before = two.second.simulator.sessions()[1]
        await two.pass_on((Said("agent", "For how many?", 420),))
        await harness.simulator.until(lambda sessions: sessions[1].client_messages["session.update"] == 2)
        after = harness.simulator.sessions()[1]
    assert before.config is not None
    assert after.config is not None
    assert 'caller: "My name is Okonkwo."' in str(before.config["system_prompt"])
    recap = 'caller: "My name is Okonkwo."\nagent (cut off after 420 ms): "For how many?"'
    assert str(after.config["system_prompt"]).endswith(recap)
    assert not after.config["greeting"]
    assert after.replies == 0


async def test_a_voice_that_was_told_everything_is_told_nothing_more(harness: Harness) -> None:
    """No turns since: one message less in the path."""
    async with standing_by(harness) as two:
        await two.pass_on()
    assert harness.simulator.sessions()[1].client_messages["session.update"] == 1


async def test_whoever_stands_by_is_not_in_the_room_and_sends_no_audio(harness: Harness) -> None:
    """Nothing is joined, no token is made; not needed, the voice session is ended properly."""
    async with standing_by(harness) as two:
        assert len(two.caller.witness.stays) == 1
        assert harness.simulator.sessions()[1].audio_received_ms == 0
        two.cue.give(None)
        outcome = await two.successor
    assert (outcome.ending, outcome.joined_ms) == (Ending.NOT_NEEDED, None)
    assert two.second.owner.minted == 0
    assert harness.simulator.sessions()[1].audio_received_ms == 0
    assert harness.simulator.sessions()[1].ended_by_session_end


@pytest.mark.parametrize(
    ("faults", "key", "ending", "code"),
    [
        (Faults(concurrency_limit=1), "any", Ending.VOICE_LOST, "concurrency_exceeded"),
        (Faults(close_1011_after_ms=200), "any", Ending.VOICE_LOST, "closed"),
        (Faults(), "refused", Ending.VOICE_REFUSED, "unauthorized"),
    ],
    ids=["no_second_session", "dies_while_standing_by", "key_refused"],
)
async def test_a_voice_that_fails_whoever_stands_by_costs_the_caller_nothing(
    harness: Harness, faults: Faults, key: str, ending: Ending, code: str
) -> None:
    """It says so at once, has never joined, and the call stays where it is."""
    second, cue = harness.another(), Standby()
    async with harness.caller() as caller, harness.call():
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        harness.simulator.faults = faults
        outcome = await second.carry(second.spec(key=key, opening=Opening.GO_ON), cue)
        said = await caller.say(hello())
        await caller.until_agent_audible(since=said.ended_at)
    assert (outcome.ending, outcome.code) == (ending, code)
    assert (outcome.joined_ms, second.owner.minted) == (None, 0)
    assert len(caller.witness.stays) == 1


async def test_an_owner_that_nobody_puts_out_leaves_by_itself(harness: Harness) -> None:
    """The next one died: the room is left within two seconds, silent and with the voice session ended at once."""
    loop = asyncio.get_running_loop()
    harness.simulator.faults = Faults(long_reply=True)
    async with harness.caller() as caller, harness.call() as call:
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        said = await caller.say(hello())
        await caller.until_agent_audible(since=said.ended_at)
        passed_at = loop.time()
        harness.stop.ask(Ending.PASSED)
        silent_at = await caller.fell_silent(passed_at, for_ms=300)
        await harness.simulator.until(lambda sessions: sessions[0].ended_by_session_end)
        ended_at = loop.time()
        left_at = await caller.agent_gone()
        outcome = await call
    assert outcome.ending is Ending.PASSED
    assert max(silent_at, ended_at) < left_at
    assert left_at - passed_at > 1.9


async def test_a_successor_that_may_not_join_does_not(harness: Harness) -> None:
    """The lease has the last word here, too."""
    async with standing_by(harness) as two:
        two.second.owner.join = False
        two.cue.give(())
        outcome = await two.successor
        assert len(two.caller.witness.stays) == 1
    assert (outcome.ending, outcome.joined_ms) == (Ending.LEASE_LOST, None)
