"""What a parent makes of its carriers' reports."""

from dataclasses import replace

import pytest

from pool.carrier_health import Seen, State, is_stuck, readiness, state_of, to_recycle
from pool.carrier_protocol import ParentSettings, Report

WELL = Report(is_ready=True, reason="taking calls")
FULL = Report(is_ready=True, reason="full", in_use=8)
DEAF = Report(is_ready=False, reason="redis does not answer")
DRAINED = Report(is_ready=False, reason="drained", is_draining=True)
SETTINGS = ParentSettings(
    redis_url="redis://127.0.0.1", capacity=8, grace_s=1.0, recycle_calls=10, recycle_rss_bytes=1000
)


def seen(report: Report | None, *, silent_s: float = 0.5, retiring_for_s: float | None = None) -> Seen:
    return Seen(report, silent_s, retiring_for_s)


@pytest.mark.parametrize(
    ("report", "silent_s", "state"),
    [
        (None, 1.0, State.STARTING),
        (WELL, 1.0, State.READY),
        (WELL, 6.0, State.NOT_READY),
        (DEAF, 1.0, State.NOT_READY),
        (DRAINED, 1.0, State.DRAINING),
    ],
)
def test_how_a_carrier_is(report: Report | None, silent_s: float, state: State) -> None:
    """By what it said last, and by how long ago that was."""
    assert state_of(seen(report, silent_s=silent_s)) is state


@pytest.mark.parametrize(
    ("carriers", "answer"),
    [
        ([], (False, "0 of 2 carriers ready: starting")),
        ([seen(None), seen(None)], (False, "0 of 2 carriers ready: starting")),
        ([seen(WELL), seen(None)], (True, "1 of 2 carriers ready: taking calls")),
        ([seen(WELL), seen(FULL)], (True, "2 of 2 carriers ready: taking calls")),
        ([seen(FULL), seen(FULL)], (True, "2 of 2 carriers ready: full")),
        ([seen(DEAF), seen(DEAF)], (False, "0 of 2 carriers ready: redis does not answer")),
        ([seen(DRAINED), seen(DRAINED)], (False, "0 of 2 carriers ready: drained")),
        ([seen(WELL, silent_s=9.0), seen(None)], (False, "0 of 2 carriers ready: silent for 9 s, starting")),
    ],
)
def test_a_worker_is_ready_when_a_carrier_is(carriers: list[Seen], answer: tuple[bool, str]) -> None:
    """The reason tells of how many, and why not."""
    assert readiness(carriers, processes=2, is_stopping=False) == answer


def test_a_worker_that_was_told_to_end_is_not_ready() -> None:
    """Though its carriers have not said so yet."""
    assert readiness([seen(WELL)], processes=1, is_stopping=True) == (False, "draining")


@pytest.mark.parametrize(
    ("carriers", "which"),
    [
        ([seen(WELL), seen(replace(WELL, calls_carried=9))], None),
        ([seen(WELL), seen(replace(WELL, calls_carried=10))], 1),
        ([seen(replace(WELL, calls_carried=1, rss_bytes=1001)), seen(replace(WELL, calls_carried=10))], 0),
        ([seen(replace(WELL, calls_carried=1, rss_bytes=1000))], None),
        ([seen(replace(WELL, rss_bytes=1001))], None),
        ([seen(replace(FULL, calls_carried=10))], None),
        ([seen(None), seen(replace(WELL, calls_carried=10))], None),
        ([seen(DRAINED), seen(replace(WELL, calls_carried=10))], None),
        ([seen(WELL, retiring_for_s=1.0), seen(replace(WELL, calls_carried=10))], None),
        ([seen(replace(WELL, calls_carried=10), retiring_for_s=4.0)], 0),
    ],
    ids=[
        "none is spent",
        "calls",
        "memory, and one at a time",
        "not above",
        "not a fresh one",
        "not with a call",
        "not while one starts",
        "not while one drains",
        "not while one makes place",
        "asked again when it had a call instead",
    ],
)
def test_a_spent_carrier_makes_place_when_it_is_idle(carriers: list[Seen], which: int | None) -> None:
    """One after the other."""
    assert to_recycle(carriers, SETTINGS) == which


def test_zero_is_never() -> None:
    """For both."""
    spent = [seen(replace(WELL, calls_carried=10**6, rss_bytes=10**12))]
    assert to_recycle(spent, replace(SETTINGS, recycle_calls=0, recycle_rss_bytes=0)) is None


@pytest.mark.parametrize(
    ("report", "silent_s", "stuck"), [(WELL, 29.0, False), (WELL, 30.0, True), (None, 59.0, False), (None, 60.0, True)]
)
def test_what_is_silent_for_long_stands_still(report: Report | None, silent_s: float, stuck: bool) -> None:
    """A carrier that is just starting has more time."""
    assert is_stuck(seen(report, silent_s=silent_s)) is stuck
