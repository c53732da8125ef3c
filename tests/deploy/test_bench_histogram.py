"""Percentiles out of a scraped histogram."""

import math

import pytest

from deploy.local.bench.histogram import Histogram

SCRAPED = """# HELP took_seconds What it took.
# TYPE took_seconds histogram
took_seconds_sum 1.5
took_seconds_bucket{le="0.001"} 5.0
took_seconds_bucket{le="0.002"} 9.0
took_seconds_bucket{le="+Inf"} 10.0
took_seconds_count 10.0
# HELP other_seconds Another one.
# TYPE other_seconds histogram
other_seconds_bucket{le="+Inf"} 3.0
other_seconds_count 3.0
"""


@pytest.mark.parametrize(
    ("share", "expected_s"), [(0.25, 0.0005), (0.5, 0.001), (0.7, 0.0015), (0.9, 0.002), (0.99, math.inf)]
)
def test_a_percentile_lies_evenly_within_its_bucket(share: float, expected_s: float) -> None:
    """And above the last bound nothing is known but that it is above."""
    assert Histogram.read(SCRAPED, "took_seconds").percentile(share) == pytest.approx(expected_s)


def test_of_nothing_there_is_no_percentile() -> None:
    """A series that is not there has no observations, and no value passes for measured."""
    missing = Histogram.read(SCRAPED, "absent_seconds")
    assert (missing.count, math.isnan(missing.percentile(0.5))) == (0, True)


def test_what_was_observed_before_is_left_out() -> None:
    """The difference of two scrapes is what came between them."""
    read = Histogram.read(SCRAPED, "took_seconds")
    later = Histogram({0.001: 5.0, 0.002: 19.0, math.inf: 20.0})
    between = later.since(read)
    assert between.count == 10
    assert between.percentile(0.5) == pytest.approx(0.0015)
