"""One call through one fault, from notes with given times."""

import pytest

from bridge.caller.witness import AgentStay, Witness
from deploy.local.chaos.measure import CallMeasured, Window, measured

INJECTED_AT = 10.0


def agent(witness: Witness, number: int, at: float, *, fence: int) -> AgentStay:
    return witness.seen(identity="voice-agent", sid=f"PA_{number}", at=at, fence=fence)


def speak(witness: Witness, stay: AgentStay, since: float, until: float, *, audible: bool = True) -> None:
    for index in range(1, round((until - since) / 0.02) + 1):
        witness.frame(stay, at=since + index * 0.02, audible=audible)


def measure(
    witness: Witness, *, over_at: float = INJECTED_AT, fence: int = 1, moves: int = 1, answered: bool = True
) -> CallMeasured:
    window = Window(INJECTED_AT, over_at, until=30.0, fence=fence)
    return measured(witness, window, room="demo", moves_allowed=moves, answered=answered)


def test_a_taken_over_call_is_timed_from_the_fault() -> None:
    """To the next agent's join, its first sound, and the silence before that; the old one's end is not asked for."""
    witness = Witness()
    old = agent(witness, 1, 1.0, fence=1)
    speak(witness, old, 1.0, 10.0)
    witness.left(sid="PA_1", at=12.4)
    new = agent(witness, 2, 12.5, fence=2)
    speak(witness, new, 13.0, 14.0)

    call = measure(witness)

    assert call.moves == 1
    assert not call.is_reshuffled
    assert call.joined_s == pytest.approx(2.5)
    assert call.heard_s == pytest.approx(3.02)
    assert call.silence_s == pytest.approx(3.0)
    assert (call.together_s, call.audible_together_s, call.is_lost) == (0, 0, False)


def test_the_same_agent_that_comes_back_is_no_move() -> None:
    """After a reconnect of its own, or of the caller's, it is a new participant under the old grant."""
    witness = Witness()
    agent(witness, 1, 1.0, fence=1)
    witness.left(sid="PA_1", at=11.0)
    agent(witness, 2, 11.2, fence=1)

    call = measure(witness, moves=0)

    assert (call.moves, call.joined_s, call.is_reshuffled) == (0, None, False)


@pytest.mark.parametrize(("allowed", "is_reshuffled"), [(0, True), (1, True), (2, False)])
def test_more_moves_than_the_fault_needed_are_a_reshuffle(allowed: int, is_reshuffled: bool) -> None:
    """A call that was not hit may not move at all, one that was hit once."""
    witness = Witness()
    for number, at in enumerate((1.0, 11.0, 12.0), start=1):
        agent(witness, number, at, fence=number)
        witness.left(sid=f"PA_{number}", at=at + 0.5)

    assert measure(witness, moves=allowed).is_reshuffled is is_reshuffled


def test_for_a_caller_who_came_during_the_fault_the_first_agent_is_no_move() -> None:
    """There was none before; a second one is."""
    witness = Witness()
    agent(witness, 1, 10.3, fence=7)
    assert measure(witness, fence=0, moves=0).moves == 0
    witness.left(sid="PA_1", at=11.0)
    agent(witness, 2, 11.5, fence=8)
    assert measure(witness, fence=0, moves=0).moves == 1


def test_silence_is_told_up_to_the_end_of_the_fault_for_a_call_that_was_not_hit() -> None:
    """What the agent does not say later, when it has finished, is no fault of the fault."""
    witness = Witness()
    stay = agent(witness, 1, 1.0, fence=1)
    speak(witness, stay, 1.0, 15.0)
    speak(witness, stay, 15.6, 18.0)

    assert measure(witness, over_at=18.0, moves=0).silence_s == pytest.approx(0.6)
    assert measure(witness, over_at=12.0, moves=0).silence_s == 0


def test_whom_nobody_answered_any_more_was_in_silence_to_the_end() -> None:
    """The fault was over long before."""
    witness = Witness()
    speak(witness, agent(witness, 1, 1.0, fence=1), 1.0, 10.5)
    assert measure(witness, answered=False).silence_s == pytest.approx(19.5)


@pytest.mark.parametrize(("fence", "moves", "is_spared"), [(1, 0, True), (1, 1, False), (0, 0, False)])
def test_a_call_is_spared_that_had_an_agent_and_may_keep_it(fence: int, moves: int, is_spared: bool) -> None:
    """Who was hit waits for another, and who comes during the fault for the first."""
    assert measure(Witness(), fence=fence, moves=moves).is_spared is is_spared


def test_a_hand_over_is_the_gap_between_frames_and_the_time_from_the_pass() -> None:
    """Silent frames count: nobody speaks in the quiet moment in which a room is passed on."""
    witness = Witness()
    old = agent(witness, 1, 1.0, fence=1)
    speak(witness, old, 1.0, 12.0, audible=False)
    witness.left(sid="PA_1", at=12.0)
    new = agent(witness, 2, 12.05, fence=2)
    speak(witness, new, 12.1, 14.0, audible=False)
    window = Window(INJECTED_AT, 15.0, until=30.0, fence=1, passes={2: 11.7})

    call = measured(witness, window, room="demo", moves_allowed=1, answered=True)

    assert list(call.hand_over_s) == pytest.approx([0.12])
    assert list(call.passed_s) == pytest.approx([0.42])


def test_two_agents_are_told_present_and_audible_apart() -> None:
    """Being there together for an instant is LiveKit's way; being heard together is ours to prevent."""
    witness = Witness()
    old, new = agent(witness, 1, 1.0, fence=1), agent(witness, 2, 11.0, fence=2)
    speak(witness, old, 1.0, 11.0)
    witness.left(sid="PA_1", at=11.2)
    speak(witness, new, 11.5, 12.0)
    assert measure(witness).together_s == pytest.approx(0.2)
    assert measure(witness).audible_together_s == 0

    speak(witness, old, 11.6, 11.7)

    assert measure(witness).audible_together_s == pytest.approx(0.1)
