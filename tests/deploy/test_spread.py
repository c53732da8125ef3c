"""Many values in three numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.spread import Spread, percentile


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([3.0], (3.0, 3.0, 3.0)),
        ([2.0, 1.0], (1.0, 2.0, 2.0)),
        ([float(n) for n in range(1, 101)], (50.0, 95.0, 100.0)),
    ],
    ids=["one", "two", "a hundred"],
)
def test_percentiles_are_the_nearest_rank(durations: list[float], expected: tuple[float, ...]) -> None:
    """No number is told that was not measured."""
    spread = Spread.of(durations)
    assert spread is not None
    assert (spread.p50, spread.p95, spread.max) == expected
    assert spread.count == len(durations)


def test_nothing_has_no_spread() -> None:
    """A fault after which nobody had to come has no time in which somebody came."""
    assert Spread.of([]) is None
    assert Spread.of([math.nan]) is None
    assert math.isnan(percentile([], 0.5))


def test_what_nothing_was_measured_as_scrambles_no_order() -> None:
    """A round without an observation has NaN for its median."""
    assert Spread.of([math.nan, 5.0, 1.0]) == Spread.of([5.0, math.nan, 1.0]) == Spread(2, 1.0, 5.0, 5.0)


@given(st.lists(st.floats(min_value=0, max_value=1e3), min_size=1))
def test_they_stand_in_order_and_were_all_measured(durations: list[float]) -> None:
    """For any durations."""
    spread = Spread.of(durations)
    assert spread is not None
    assert min(durations) <= spread.p50 <= spread.p95 <= spread.max == max(durations)
    assert {spread.p50, spread.p95} <= set(durations)
