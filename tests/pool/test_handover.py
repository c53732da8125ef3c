"""What the owner of a call does next while it hands it over: every way through the table."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.handover import BACKOFF_S, STAGES, HandOver, HandOverEvent, Stage

events = st.lists(st.sampled_from(HandOverEvent), max_size=20)


def through(*story: HandOverEvent) -> HandOver:
    over = HandOver()
    for event in story:
        over.advance(event)
    return over


def test_the_good_way() -> None:
    """Asked, ready, quiet, passed."""
    assert (
        through(
            HandOverEvent.PICKED, HandOverEvent.PICKED, HandOverEvent.READY, HandOverEvent.SETTLED, HandOverEvent.PASSED
        ).stage
        is Stage.PASSED
    )


@pytest.mark.parametrize(
    ("story", "why"),
    [
        ([HandOverEvent.NOBODY], "nobody"),
        ([HandOverEvent.UNREACHABLE], "unreachable"),
        ([HandOverEvent.PICKED, HandOverEvent.TOO_SLOW], "too_slow"),
        ([HandOverEvent.PICKED, HandOverEvent.NOBODY], "nobody"),
        ([HandOverEvent.READY, HandOverEvent.UNREACHABLE], "unreachable"),
        ([HandOverEvent.READY, HandOverEvent.NOT_NOW], "not_now"),
        ([HandOverEvent.READY, HandOverEvent.SETTLED, HandOverEvent.NOT_PASSED], "not_passed"),
        ([HandOverEvent.READY, HandOverEvent.SETTLED, HandOverEvent.UNREACHABLE], "unreachable"),
        ([HandOverEvent.BUG], "bug"),
        ([HandOverEvent.READY, HandOverEvent.SETTLED, HandOverEvent.BUG], "bug"),
    ],
)
def test_every_failure_leaves_the_call_and_is_tried_again(story: list[HandOverEvent], why: str) -> None:
    """After a back-off; the reason is kept for whoever asks."""
    over = through(*story)
    assert (over.stage, over.why) == (Stage.RESTING, why)
    assert over.advance(HandOverEvent.RESTED) is Stage.SEEKING


@given(events)
def test_nothing_is_passed_that_nobody_is_ready_for(story: list[HandOverEvent]) -> None:
    """PASSED is reached from PASSING alone, that from SETTLING, and that by somebody who said ready."""
    over = HandOver()
    stages = [over.stage, *(over.advance(event) for event in story)]
    for before, after in pairwise(stages):
        if after is Stage.PASSED and before is not after:
            assert before is Stage.PASSING
        if after is Stage.PASSING and before is not after:
            assert before is Stage.SETTLING
    if Stage.PASSED in stages:
        assert story.index(HandOverEvent.READY) < story.index(HandOverEvent.PASSED)


@given(events)
def test_an_ended_or_passed_call_stays_so(story: list[HandOverEvent]) -> None:
    """No later news makes it ours to pass again."""
    over = HandOver()
    final = None
    for event in story:
        stage = over.advance(event)
        assert final in (None, stage)
        final = stage if stage in (Stage.PASSED, Stage.OVER) else None


@given(events)
def test_the_end_of_the_call_ends_its_hand_over_from_wherever_it_is(story: list[HandOverEvent]) -> None:
    """Unless it is passed: then it is somebody else's."""
    over = through(*story)
    assert over.advance(HandOverEvent.ENDED) in (Stage.OVER, Stage.PASSED)


def test_tries_come_ever_less_often() -> None:
    """A pool without room is not asked twice a second for an hour."""
    over = HandOver()
    waits = []
    for _ in range(len(BACKOFF_S) + 2):
        over.advance(HandOverEvent.NOBODY)
        waits.append(over.backoff_s)
        over.advance(HandOverEvent.RESTED)
    assert waits == [*BACKOFF_S, BACKOFF_S[-1], BACKOFF_S[-1]]


def test_every_stage_is_in_the_table() -> None:
    """A new one cannot be forgotten."""
    assert set(STAGES) == set(Stage)
