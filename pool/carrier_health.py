"""What a parent makes of its carriers' reports: is the worker ready, how is each, whose time is up. Pure."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from pool.carrier_protocol import ParentSettings, Report

SILENT_S = 30.0
"""A carrier that has said nothing for so long stands still. Its leases ended long ago, and its calls are others'."""

STARTING_S = 60.0
"""The same for the first message of one that was just started, on a machine that may be busy."""

STALE_S = 5.0
"""After so long without a report a carrier is not counted as ready."""

RETIRING_S = 3.0
"""A carrier that was asked to make place and got a call instead is asked again after so long."""


FULL = "full"
"""What a carrier without a free slot says of itself; it is ready all the same."""


class State(enum.Enum):
    """How a carrier is, as a metric's label."""

    STARTING = "starting"
    READY = "ready"
    NOT_READY = "not_ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Seen:
    """A carrier at this moment: what it said last, how long ago (or how long ago it was started), and what it was told.

    `retiring_for_s` is None unless it was asked to make place.
    """

    report: Report | None
    silent_s: float
    retiring_for_s: float | None = None


def state_of(seen: Seen) -> State:
    """How it is."""
    report = seen.report
    if report is None:
        return State.STARTING
    if report.is_draining:
        return State.DRAINING
    return State.READY if report.is_ready and seen.silent_s < STALE_S else State.NOT_READY


def is_stuck(seen: Seen) -> bool:
    """Whether it has said nothing for longer than anything alive would."""
    return seen.silent_s >= (STARTING_S if seen.report is None else SILENT_S)


def readiness(carriers: Sequence[Seen], *, processes: int, is_stopping: bool) -> tuple[bool, str]:
    """Whether the worker takes calls, and how many of its carriers do and why not the others."""
    ready = [seen.report for seen in carriers if seen.report and state_of(seen) is State.READY]
    count = f"{len(ready)} of {processes}"
    if is_stopping:
        return False, "draining"
    if ready:
        reason = next((report.reason for report in ready if report.reason != FULL), FULL)
        return True, f"{count} carriers ready: {reason}"
    reasons = sorted({_why_not(seen) for seen in carriers}) or ["starting"]
    return False, f"{count} carriers ready: {', '.join(reasons)}"


def to_recycle(carriers: Sequence[Seen], settings: ParentSettings) -> int | None:
    """Which carrier shall make place for a fresh one now: an idle one that has carried enough calls or grown too large.

    One at a time, and only while every other one has come up.
    """
    if any(state_of(seen) in (State.STARTING, State.DRAINING) for seen in carriers):
        return None
    if any(seen.retiring_for_s is not None and seen.retiring_for_s < RETIRING_S for seen in carriers):
        return None
    due = (number for number, seen in enumerate(carriers) if seen.report and _is_spent(seen.report, settings))
    return next(due, None)


def _is_spent(report: Report, settings: ParentSettings) -> bool:
    """One without a call behind it never is: a limit below what a fresh one needs would replace it for ever."""
    if report.in_use or not report.calls_carried:
        return False
    has_carried = 0 < settings.recycle_calls <= report.calls_carried
    return has_carried or 0 < settings.recycle_rss_bytes < report.rss_bytes


def _why_not(seen: Seen) -> str:
    if seen.report is None:
        return "starting"
    return f"silent for {seen.silent_s:.0f} s" if seen.report.is_ready else seen.report.reason
