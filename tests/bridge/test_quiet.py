"""A quiet moment: nobody speaks, nothing is left to play, and nobody owes an answer."""

import pytest

from bridge.quiet import OWED_S, QuietMoment
from bridge.turn import Floor, FloorEvent


def after(*events: FloorEvent, owes: bool = False) -> QuietMoment:
    """After these, all at 0 s."""
    made = QuietMoment()
    made.attached(owes=owes, now=0)
    for event in events:
        made.take(event, now=0)
    return made


def test_without_a_voice_nobody_knows_whether_it_is_quiet() -> None:
    """Before the first voice session, and between two."""
    made = QuietMoment()
    assert made.comes_in_s(Floor.NOBODY, playing_s=0, now=0) is None
    made.attached(owes=False, now=0)
    assert made.comes_in_s(Floor.NOBODY, playing_s=0, now=0) == 0
    made.detached()
    assert made.comes_in_s(Floor.NOBODY, playing_s=0, now=0) is None


@pytest.mark.parametrize("floor", [Floor.CALLER, Floor.AGENT])
def test_whoever_has_the_floor_is_not_quiet(floor: Floor) -> None:
    """For how long, nobody knows."""
    assert after().comes_in_s(floor, playing_s=0, now=0) is None


def test_what_was_said_is_heard_to_its_end() -> None:
    """The room plays what it was handed after the voice is done."""
    assert after().comes_in_s(Floor.NOBODY, playing_s=0.2, now=0) == 0.2


def test_a_caller_who_may_not_interrupt_is_heard_speaking_all_the_same() -> None:
    """The floor stays the agent's then, and is nobody's when the agent is done: the caller still speaks."""
    made = after(FloorEvent.CALLER_STARTED, FloorEvent.REPLY_ENDED)
    assert made.comes_in_s(Floor.NOBODY, playing_s=0, now=0) is None


def test_a_turn_of_the_callers_is_answered_first() -> None:
    """The moment between a question and its answer is the worst one; one that is never answered does not count."""
    made = after(FloorEvent.CALLER_STARTED, FloorEvent.CALLER_STOPPED)
    assert made.comes_in_s(Floor.NOBODY, playing_s=0, now=1) == OWED_S - 1
    assert made.comes_in_s(Floor.NOBODY, playing_s=0, now=OWED_S) == 0
    made.take(FloorEvent.REPLY_STARTED, now=1)
    made.take(FloorEvent.REPLY_ENDED, now=2)
    assert made.comes_in_s(Floor.NOBODY, playing_s=0, now=2) == 0


def test_a_greeting_is_owed() -> None:
    """A call handed over before it was said would begin without one."""
    assert after(owes=True).comes_in_s(Floor.NOBODY, playing_s=0, now=0) == OWED_S
    assert (
        after(FloorEvent.REPLY_STARTED, FloorEvent.REPLY_ENDED, owes=True).comes_in_s(Floor.NOBODY, playing_s=0, now=0)
        == 0
    )
