"""The caller's words on their way to the voice: kept while it is away, caught up gently, never without end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.audio import BACKLOG_MS, CATCH_UP, CATCH_UP_BURST_MS, PRE_ROLL_MS, Backlog, level_dbfs, silence
from bridge.spec import BYTES_PER_MS

FRAME_MS = 50


def speech(marker: int = 0) -> bytes:
    """50 ms of something loud, told apart by its first sample."""
    samples = np.full(FRAME_MS * BYTES_PER_MS // 2, 8000, dtype="<i2")
    samples[0] = marker
    return samples.tobytes()


@pytest.mark.parametrize(
    ("pcm", "dbfs"),
    [(b"", -96.0), (silence(10), -96.0), (np.full(480, 32767, "<i2").tobytes(), 0.0), (speech(8000), -12.2)],
    ids=["nothing", "silence", "full", "loud"],
)
def test_levels_are_decibels_below_full_scale(pcm: bytes, dbfs: float) -> None:
    """Full scale is 0, silence and nothing are -96."""
    assert level_dbfs(pcm) == pytest.approx(dbfs, abs=0.1)


def test_silence_before_the_first_word_is_trimmed_to_a_pre_roll() -> None:
    """A caller who waits quietly does not fill the backlog, and the first consonant keeps its run-up."""
    backlog = Backlog()
    for _ in range(100):
        backlog.push(silence(FRAME_MS), listening=False)
    backlog.push(speech(), listening=False)
    assert backlog.queued_ms == PRE_ROLL_MS + FRAME_MS
    assert backlog.dropped_ms == 0


def test_the_oldest_words_go_first_when_the_voice_stays_away() -> None:
    """Ten seconds are kept; what is dropped is counted."""
    backlog = Backlog()
    frames = BACKLOG_MS // FRAME_MS
    for marker in range(frames + 4):
        backlog.push(speech(marker), listening=False)
    assert (backlog.queued_ms, backlog.dropped_ms) == (BACKLOG_MS, 4 * FRAME_MS)
    assert backlog.pop(now=0.0) == speech(4)


@given(st.lists(st.floats(0, 0.4), min_size=1, max_size=60))
def test_a_backlog_is_caught_up_at_no_more_than_1_2_times_real_time(steps_s: list[float]) -> None:
    """Whenever it is asked, what left so far is within 1.2 x the time gone, and one burst."""
    backlog = Backlog()
    for _ in range(BACKLOG_MS // FRAME_MS):
        backlog.push(speech(), listening=False)
    now = sent_ms = 0.0
    for step_s in steps_s:
        now += step_s
        while backlog.pop(now=now) is not None:
            sent_ms += FRAME_MS
        assert sent_ms <= (now * 1000 * CATCH_UP) + CATCH_UP_BURST_MS


def test_a_caller_in_step_with_the_clock_is_passed_on_at_once() -> None:
    """Once the backlog is empty each frame leaves in the moment it comes."""
    backlog = Backlog()
    for number in range(200):
        backlog.push(speech(number), listening=True)
        assert backlog.pop(now=number * FRAME_MS / 1000) == speech(number)


def test_after_the_voice_went_away_silence_is_trimmed_again() -> None:
    """A second outage keeps words, not the pause between them."""
    backlog = Backlog()
    backlog.push(speech(), listening=True)
    backlog.pop(now=0.0)
    backlog.away()
    for _ in range(100):
        backlog.push(silence(FRAME_MS), listening=False)
    assert backlog.queued_ms == PRE_ROLL_MS


def test_who_waits_for_the_pace_knows_for_how_long() -> None:
    """A frame leaves as soon as it may, not when the next one happens to come."""
    backlog, now = Backlog(), 100.0
    for _ in range(40):
        backlog.push(bytes(50 * 48), listening=True)
    while backlog.pop(now=now) is not None:
        pass
    wait_s = backlog.ready_in_s()
    assert 0 < wait_s <= 0.05
    assert backlog.pop(now=now + wait_s / 2) is None
    assert backlog.pop(now=now + wait_s + 0.001) is not None
    assert Backlog().ready_in_s() == 0
