"""An interruption from both ends of a call."""

import pytest

from bridge.caller.hearing import Stretch
from bridge.simulator.lines import line
from deploy.local.bench.interruptions import call_heard, is_voiced_up_to

LONG = line("long")


def test_what_is_heard_of_a_cut_reply_counts_from_its_cut() -> None:
    """The way is from the reply's first frame to its first audible one, which arrives 20 ms after its sound began."""
    said = [{"began_unix_ms": 10_000.0, "cut_unix_ms": 10_800.0, "frames_sent": 80}]
    call = call_heard(
        said, [Stretch(10.04, 10.87)], line=LONG, monotonic=lambda unix_ms: unix_ms / 1000, known_until=12.0
    )
    assert call.ways_s == pytest.approx([0.06])
    (cut,) = call.cuts
    assert cut.last_heard_s == pytest.approx(0.07)
    assert cut.way_s == pytest.approx(0.06)
    assert call.unclear == 0


@pytest.mark.parametrize(
    ("frames_sent", "heard_until_s"),
    [pytest.param(280, 12.6, id="in a pause of its speech"), pytest.param(80, 11.95, id="not yet known to be silent")],
)
def test_a_cut_that_tells_nothing_is_left_out(frames_sent: int, heard_until_s: float) -> None:
    """One that struck a pause fell silent before, one after which we did not listen never did."""
    cut_ms = 10_000.0 + frames_sent * 10
    said = [{"began_unix_ms": 10_000.0, "cut_unix_ms": cut_ms, "frames_sent": frames_sent}]
    call = call_heard(
        said, [Stretch(10.04, heard_until_s)], line=LONG, monotonic=lambda unix_ms: unix_ms / 1000, known_until=12.0
    )
    assert (list(call.cuts), call.unclear) == ([], 1)


def test_a_reply_that_was_not_cut_tells_the_way_alone() -> None:
    """And one that was never heard tells nothing."""
    said = [
        {"began_unix_ms": 10_000.0, "cut_unix_ms": None, "frames_sent": 0},
        {"began_unix_ms": 20_000.0, "cut_unix_ms": None, "frames_sent": 0},
    ]
    call = call_heard(said, [Stretch(10.03, 11.0)], line=LONG, monotonic=lambda unix_ms: unix_ms / 1000, known_until=30)
    assert call.ways_s == pytest.approx([0.05])
    assert (list(call.cuts), call.unclear) == ([], 0)


@pytest.mark.parametrize(("frames", "is_voiced"), [(80, True), (5, False), (285, False), (100_000, False)])
def test_whether_a_line_is_voiced_is_read_from_its_sound(frames: int, is_voiced: bool) -> None:
    """Its first second is voice throughout; before its beginning, in a pause and after its end there is none."""
    assert is_voiced_up_to(LONG, frames) is is_voiced
