"""What the owner of a call does next while it hands it over: every way through the table."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.handover import BACKOFF_S, STAGES, Beat, HandOver, Stage

beats = st.lists(st.sampled_from(Beat), max_size=20)


def through(*story: Beat) -> HandOver:
    over = HandOver()
    for beat in story:
        over.advance(beat)
    return over


def test_the_good_way() -> None:
    """Asked, ready, quiet, passed."""
    assert through(Beat.PICKED, Beat.PICKED, Beat.READY, Beat.SETTLED, Beat.PASSED).stage is Stage.PASSED


@pytest.mark.parametrize(
    ("story", "why"),
    [
        ([Beat.NOBODY], "nobody"),
        ([Beat.UNREACHABLE], "unreachable"),
        ([Beat.PICKED, Beat.TOO_SLOW], "too_slow"),
        ([Beat.PICKED, Beat.NOBODY], "nobody"),
        ([Beat.READY, Beat.UNREACHABLE], "unreachable"),
        ([Beat.READY, Beat.NOT_NOW], "not_now"),
        ([Beat.READY, Beat.SETTLED, Beat.NOT_PASSED], "not_passed"),
        ([Beat.READY, Beat.SETTLED, Beat.UNREACHABLE], "unreachable"),
    ],
)
def test_every_failure_leaves_the_call_and_is_tried_again(story: list[Beat], why: str) -> None:
    """After a back-off; the reason is kept for whoever asks."""
    over = through(*story)
    assert (over.stage, over.why) == (Stage.RESTING, why)
    assert over.advance(Beat.RESTED) is Stage.SEEKING


@given(beats)
def test_nothing_is_passed_that_nobody_is_ready_for(story: list[Beat]) -> None:
    """PASSED is reached from PASSING alone, that from SETTLING, and that by somebody who said ready."""
    over = HandOver()
    stages = [over.stage, *(over.advance(beat) for beat in story)]
    for before, after in pairwise(stages):
        if after is Stage.PASSED and before is not after:
            assert before is Stage.PASSING
        if after is Stage.PASSING and before is not after:
            assert before is Stage.SETTLING
    if Stage.PASSED in stages:
        assert story.index(Beat.READY) < story.index(Beat.PASSED)


@given(beats)
def test_an_ended_or_passed_call_stays_so(story: list[Beat]) -> None:
    """No later news makes it ours to pass again."""
    over = HandOver()
    final = None
    for beat in story:
        stage = over.advance(beat)
        assert final in (None, stage)
        final = stage if stage in (Stage.PASSED, Stage.OVER) else None


@given(beats)
def test_the_end_of_the_call_ends_its_hand_over_from_wherever_it_is(story: list[Beat]) -> None:
    """Unless it is passed: then it is somebody else's."""
    over = through(*story)
    assert over.advance(Beat.ENDED) in (Stage.OVER, Stage.PASSED)


def test_tries_come_ever_less_often() -> None:
    """A pool without room is not asked twice a second for an hour."""
    over = HandOver()
    waits = []
    for _ in range(len(BACKOFF_S) + 2):
        over.advance(Beat.NOBODY)
        waits.append(over.backoff_s)
        over.advance(Beat.RESTED)
    assert waits == [*BACKOFF_S, BACKOFF_S[-1], BACKOFF_S[-1]]


def test_every_stage_is_in_the_table() -> None:
    """A new one cannot be forgotten."""
    assert set(STAGES) == set(Stage)
