"""What a row of the benchmark answers with. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.local.spread import Spread


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, as often as it was: all values of all rounds, in `unit`."""

    unit: str
    values: tuple[float, ...]

    @property
    def spread(self) -> Spread | None:
        """Median, p95 and maximum; None when nothing was measured."""
        return Spread.of(self.values)

    @property
    def median(self) -> float:
        """NaN when nothing was measured, so that no comparison with it holds."""
        spread = self.spread
        return spread.p50 if spread else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one subject came to in one row."""

    subject: str
    """Who was measured, such as "roompool, 1 carrier" or "livekit-agents 1.8.9"."""
    case: str = ""
    """Under which load or setting, such as "16 calls, speaking"; empty when a row has but one."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """By name, such as "subscribed"; the unit is the figure's."""
    lost: int = 0
    """Callers who got no agent in time."""
    processes: int = 0
    """How many processes the subject used; 0 where that says nothing."""
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """One reach of a row: what was wanted, and what it came to."""

    text: str
    """Such as "subscribed, ratio to livekit-agents"."""
    value: float
    limit: float
    at_least: bool = False
    """Whether the value shall be no less than the limit; else no more."""

    @property
    def is_reached(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReport:
    """A row, done: who was measured, and which reach was reached."""

    row: str
    what: str
    measured: Sequence[Measured] = ()
    verdicts: Sequence[Verdict] = ()
    skipped: str = ""
    """Why it could not be measured here; empty when it was."""
    failed: str = ""
    """What went wrong while it was measured; empty when nothing did."""


def find(measured: Sequence[Measured], subject: str, case: str = "") -> Measured | None:
    """What that subject came to in that case."""
    return next((one for one in measured if (one.subject, one.case) == (subject, case)), None)


def ratio(measured: Sequence[Measured], figure: str, ours: str, theirs: str, case: str = "") -> float:
    """Median of ours by median of theirs, of one figure in one case; NaN when either is missing."""
    medians = []
    for subject in (ours, theirs):
        one = find(measured, subject, case)
        medians.append(one.figures[figure].median if one is not None and figure in one.figures else float("nan"))
    return medians[0] / medians[1] if medians[1] else float("nan")
