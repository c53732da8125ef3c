"""A carrier's way out."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.drain import HAND_OVER_S, Drain, Phase


def test_nobody_asked() -> None:
    """It serves, also without a call, and for ever."""
    drain = Drain(grace_s=30.0, leave_s=5.0)
    assert drain.phase(1e9, in_use=0) is Phase.SERVING
    assert not drain.is_asked
    assert (drain.grace_ends_at, drain.stops_at) == (float("inf"), float("inf"))


def test_asked_without_calls_it_stops_at_once() -> None:
    """There is nothing to wait for."""
    drain = Drain(grace_s=30.0)
    drain.ask(10.0)
    assert drain.phase(10.0, in_use=0) is Phase.STOPPED


def test_calls_end_by_themselves_until_the_grace_is_over_then_leave_then_it_stops_anyway() -> None:
    """Two deadlines, both counted from the first time it was asked."""
    drain = Drain(grace_s=30.0, leave_s=5.0)
    drain.ask(10.0)
    drain.ask(20.0)
    assert (drain.grace_ends_at, drain.stops_at) == (40.0, 45.0)
    assert drain.phase(39.9, in_use=1) is Phase.DRAINING
    assert drain.phase(44.9, in_use=1) is Phase.DRAINING
    assert drain.phase(45.0, in_use=1) is Phase.STOPPED


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(0, 100), min_size=1).map(sorted), st.floats(0, 50), st.floats(0, 10))
def test_it_never_serves_again(moments: list[float], grace_s: float, leave_s: float) -> None:
    """Whenever it is looked at, with a call or without, asked again or not."""
    drain = Drain(grace_s=grace_s, leave_s=leave_s)
    drain.ask(moments[0])
    stopped = False
    for now in moments:
        drain.ask(now)
        phase = drain.phase(now, in_use=1)
        assert phase is not Phase.SERVING
        assert not stopped or phase is Phase.STOPPED
        assert phase is Phase.DRAINING or now >= drain.grace_ends_at
        stopped = phase is Phase.STOPPED


@pytest.mark.parametrize(
    ("grace_s", "after_s", "begins_s"),
    [
        (3600.0, 30.0, 30.0),
        (3600.0, 0.0, 0.0),
        (40.0, 30.0, 40.0 - HAND_OVER_S),
        (12.0, 30.0, 0.0),
        (0.0, 30.0, 0.0),
        (12.0, math.inf, math.inf),
    ],
)
def test_calls_are_handed_over_while_there_is_time_for_it(grace_s: float, after_s: float, begins_s: float) -> None:
    """A grace shorter than the wait would else end every call of a deploy; who says never, means it."""
    drain = Drain(grace_s=grace_s, hand_over_after_s=after_s)
    assert drain.hands_over_at == math.inf
    drain.ask(10.0)
    assert drain.hands_over_at == 10.0 + begins_s
