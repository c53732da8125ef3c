"""Many values in three numbers. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """Of how many values, and their middle, 95th percentile and largest, in whatever unit they are.

    The percentiles are values that were measured (nearest rank): with a few of them p95 is the largest.
    """

    count: int
    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """None when there is nothing to tell. NaN, which nothing was measured as, is left out."""
        ranked = sorted(value for value in values if not math.isnan(value))
        if not ranked:
            return None
        return cls(len(ranked), percentile(ranked, 0.5), percentile(ranked, 0.95), ranked[-1])

    def __str__(self) -> str:
        return f"{self.p50:.2f} / {self.p95:.2f} / {self.max:.2f}"


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (above 0, at most 1) of all are no greater than, by nearest rank; NaN of none."""
    ranked = sorted(values)
    return ranked[max(math.ceil(share * len(ranked)), 1) - 1] if ranked else math.nan
