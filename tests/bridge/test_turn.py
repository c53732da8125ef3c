"""The floor as a table: every order the vendor is known to use, and what any other order may not do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.turn import FLOOR, FLUSHES, Floor, FloorEvent, Turn, floor_event_of
from bridge.voice.events import CallerSaid, CallerStarted, CallerStopped, ReplyAudio, ReplyDone, ReplyStarted


@pytest.mark.parametrize(
    ("event", "floor_event"),
    [
        (CallerStarted(), FloorEvent.CALLER_STARTED),
        (CallerStopped(), FloorEvent.CALLER_STOPPED),
        (ReplyStarted("r"), FloorEvent.REPLY_STARTED),
        (ReplyDone("r", interrupted=False), FloorEvent.REPLY_ENDED),
        (ReplyDone("r", interrupted=True), FloorEvent.REPLY_INTERRUPTED),
        (CallerSaid("hello"), None),
        (ReplyAudio("r", b""), None),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, FloorEvent) else value.value,
)
def test_only_five_things_touch_the_floor(event: object, floor_event: FloorEvent | None) -> None:
    """Audio and words say nothing about whose turn it is."""
    assert floor_event_of(event) is floor_event  # type: ignore[arg-type]  # the table mixes event types


@pytest.mark.parametrize(
    "order",
    [
        [FloorEvent.REPLY_STARTED, FloorEvent.REPLY_ENDED],
        [FloorEvent.CALLER_STARTED, FloorEvent.CALLER_STOPPED, FloorEvent.REPLY_STARTED, FloorEvent.REPLY_ENDED],
        [FloorEvent.CALLER_STARTED, FloorEvent.REPLY_STARTED, FloorEvent.CALLER_STOPPED, FloorEvent.REPLY_ENDED],
        [FloorEvent.REPLY_STARTED, FloorEvent.CALLER_STARTED, FloorEvent.REPLY_INTERRUPTED, FloorEvent.CALLER_STOPPED],
        [FloorEvent.REPLY_STARTED, FloorEvent.REPLY_INTERRUPTED, FloorEvent.CALLER_STARTED, FloorEvent.CALLER_STOPPED],
    ],
    ids=["greeting", "turn", "overtaken", "barge_in", "barge_in_reversed"],
)
def test_each_order_that_is_known_to_happen_is_no_surprise(order: list[FloorEvent]) -> None:
    """Every order of the vendor's is an entry of the table, and leaves the floor to nobody."""
    turn = Turn()
    for change in order:
        turn.advance(change)
    assert (turn.floor, turn.surprises) == (Floor.NOBODY, 0)


@given(st.lists(st.sampled_from(FloorEvent)))
def test_a_flush_is_asked_for_exactly_when_unheard_audio_is_worthless(events: list[FloorEvent]) -> None:
    """For any order: a flush comes with a caller who starts or a reply that is interrupted, and with nothing else."""
    turn = Turn()
    for change in events:
        assert turn.advance(change) == (change in FLUSHES)


@given(st.lists(st.sampled_from(FloorEvent)))
def test_a_surprise_changes_nothing(events: list[FloorEvent]) -> None:
    """An order that is in no entry is counted, and the floor stays."""
    turn = Turn()
    for change in events:
        floor, surprises = turn.floor, turn.surprises
        turn.advance(change)
        if change not in FLOOR[floor]:
            assert (floor, surprises + 1) == (turn.floor, turn.surprises)


def test_a_caller_who_may_not_interrupt_does_not_take_the_floor() -> None:
    """Told not to let callers interrupt, the vendor still reports their speech; the agent goes on."""
    turn = Turn(barge_in=False)
    turn.advance(FloorEvent.REPLY_STARTED)
    assert not turn.advance(FloorEvent.CALLER_STARTED)
    assert turn.floor is Floor.AGENT
    assert turn.advance(FloorEvent.REPLY_INTERRUPTED)
