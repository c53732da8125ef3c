"""The floor as a table: every order the vendor is known to use, and what any other order may not do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.turn import FLOOR, FLUSHES, Beat, Floor, Turn, beat_of
from bridge.voice.events import CallerSaid, CallerStarted, CallerStopped, ReplyAudio, ReplyDone, ReplyStarted


@pytest.mark.parametrize(
    ("event", "beat"),
    [
        (CallerStarted(), Beat.CALLER_STARTED),
        (CallerStopped(), Beat.CALLER_STOPPED),
        (ReplyStarted("r"), Beat.REPLY_STARTED),
        (ReplyDone("r", interrupted=False), Beat.REPLY_ENDED),
        (ReplyDone("r", interrupted=True), Beat.REPLY_INTERRUPTED),
        (CallerSaid("hello"), None),
        (ReplyAudio("r", b""), None),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, Beat) else value.value,
)
def test_only_five_things_touch_the_floor(event: object, beat: Beat | None) -> None:
    """Audio and words say nothing about whose turn it is."""
    assert beat_of(event) is beat  # type: ignore[arg-type]  # the table mixes event types


@pytest.mark.parametrize(
    "order",
    [
        [Beat.REPLY_STARTED, Beat.REPLY_ENDED],
        [Beat.CALLER_STARTED, Beat.CALLER_STOPPED, Beat.REPLY_STARTED, Beat.REPLY_ENDED],
        [Beat.CALLER_STARTED, Beat.REPLY_STARTED, Beat.CALLER_STOPPED, Beat.REPLY_ENDED],
        [Beat.REPLY_STARTED, Beat.CALLER_STARTED, Beat.REPLY_INTERRUPTED, Beat.CALLER_STOPPED],
        [Beat.REPLY_STARTED, Beat.REPLY_INTERRUPTED, Beat.CALLER_STARTED, Beat.CALLER_STOPPED],
    ],
    ids=["greeting", "turn", "overtaken", "barge_in", "barge_in_reversed"],
)
def test_each_order_that_is_known_to_happen_is_no_surprise(order: list[Beat]) -> None:
    """Every order of the vendor's is an entry of the table, and leaves the floor to nobody."""
    turn = Turn()
    for beat in order:
        turn.advance(beat)
    assert (turn.floor, turn.surprises) == (Floor.NOBODY, 0)


@given(st.lists(st.sampled_from(Beat)))
def test_a_flush_is_asked_for_exactly_when_unheard_audio_is_worthless(beats: list[Beat]) -> None:
    """For any order: a flush comes with a caller who starts or a reply that is interrupted, and with nothing else."""
    turn = Turn()
    for beat in beats:
        assert turn.advance(beat) == (beat in FLUSHES)


@given(st.lists(st.sampled_from(Beat)))
def test_a_surprise_changes_nothing(beats: list[Beat]) -> None:
    """An order that is in no entry is counted, and the floor stays."""
    turn = Turn()
    for beat in beats:
        floor, surprises = turn.floor, turn.surprises
        turn.advance(beat)
        if beat not in FLOOR[floor]:
            assert (floor, surprises + 1) == (turn.floor, turn.surprises)


def test_a_caller_who_may_not_interrupt_does_not_take_the_floor() -> None:
    """Told not to let callers interrupt, the vendor still reports their speech; the agent goes on."""
    turn = Turn(barge_in=False)
    turn.advance(Beat.REPLY_STARTED)
    assert not turn.advance(Beat.CALLER_STARTED)
    assert turn.floor is Floor.AGENT
    assert turn.advance(Beat.REPLY_INTERRUPTED)
