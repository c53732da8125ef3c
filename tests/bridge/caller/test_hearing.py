"""What stretches of sound answer, without a clock."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.caller.hearing import (
    Hearing,
    Stretch,
    fell_silent_at,
    gaps,
    heard_between,
    longest_gap,
    onset_after,
    overlap_s,
    union,
)
from bridge.caller.sound import FRAME_S


def heard(flags: str, *, start: float = 100.0) -> Hearing:
    """A hearing of 20 ms frames: '#' audible, '.' silent; the first arrives 20 ms after `start`."""
    hearing = Hearing()
    for index, flag in enumerate(flags):
        hearing.frame(at=start + (index + 1) * FRAME_S, audible=flag == "#")
    return hearing


flags = st.text(alphabet="#.", max_size=60)


@given(flags)
def test_the_sound_heard_is_twenty_milliseconds_for_each_audible_frame(pattern: str) -> None:
    """Frames that come on time are neither lost nor counted twice."""
    stretches = heard(pattern).stretches

    assert heard_between(stretches, 0.0, 1000.0) == pytest.approx(pattern.count("#") * FRAME_S)


@given(flags)
def test_sound_and_silence_fill_the_time(pattern: str) -> None:
    """Within any window, what was heard and the gaps between add up to the window."""
    stretches = heard(pattern).stretches
    silence_s = sum(gap.ended_at - gap.started_at for gap in gaps(stretches, 99.0, 103.0, min_s=0.0))

    assert silence_s + heard_between(stretches, 99.0, 103.0) == pytest.approx(4.0)


@given(flags)
def test_stretches_never_touch_the_next(pattern: str) -> None:
    """Each is as long as it can be, and they are in order."""
    stretches = heard(pattern).stretches

    assert all(first.ended_at < second.started_at for first, second in pairwise(stretches))


def test_a_hole_between_frames_is_silence() -> None:
    """A stalled sender is not heard, though no silent frame says so."""
    hearing = Hearing()
    hearing.frame(at=1.0, audible=True)
    hearing.frame(at=2.0, audible=True)

    assert longest_gap(hearing.stretches, 0.98, 2.0) == pytest.approx(0.98)


def test_frames_in_a_heap_make_one_stretch() -> None:
    """A busy loop hands over several frames at one moment; they are one sound."""
    hearing = Hearing()
    for at in (1.0, 1.08, 1.08, 1.08, 1.1):
        hearing.frame(at=at, audible=True)

    assert hearing.stretches == (Stretch(0.98, 1.1),)


def test_an_agent_falls_silent_with_its_last_frame_before_a_long_enough_pause() -> None:
    """Pauses between words, shorter than asked for, are not the end."""
    stretches = heard("##########.....#####" + "." * 20).stretches

    assert fell_silent_at(stretches, 100.1, for_s=0.3, known_until=100.8) == pytest.approx(100.4)


@pytest.mark.parametrize(
    ("after", "known_until"),
    [
        pytest.param(99.0, 100.8, id="not speaking yet"),
        pytest.param(100.75, 100.8, id="long silent already"),
        pytest.param(100.1, 100.5, id="silent for too short a time to know"),
    ],
)
def test_no_end_is_invented(after: float, known_until: float) -> None:
    """An agent that was not audible did not fall silent; nor has one that may only be pausing."""
    stretches = heard("####################" + "." * 20).stretches

    assert fell_silent_at(stretches, after, for_s=0.3, known_until=known_until) is None


def test_an_onset_is_sound_that_begins_later() -> None:
    """What was on already does not count."""
    stretches = heard("#####.....#####").stretches

    assert onset_after(stretches, 100.05) == pytest.approx(100.2)
    assert onset_after(stretches, 100.25) is None


def test_two_at_once_overlap_for_as_long_as_both_are_audible() -> None:
    """The instrument sees two agents talking over each other."""
    first, second = heard("##########..........").stretches, heard(".....##########.....").stretches

    assert overlap_s(first, second) == pytest.approx(0.1)
    assert len(union([first, second])) == 1
