"""Many durations in three numbers. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """Of how many durations, and their middle, 95th percentile and largest, in seconds.

    The percentiles are durations that were measured (nearest rank): with a few of them p95 is the largest.
    """

    count: int
    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, durations_s: Iterable[float]) -> Self | None:
        """None when there is nothing to tell."""
        ranked = sorted(durations_s)
        if not ranked:
            return None
        return cls(len(ranked), _at(ranked, 0.5), _at(ranked, 0.95), ranked[-1])

    def __str__(self) -> str:
        return f"{self.p50:.2f} / {self.p95:.2f} / {self.max:.2f}"


def _at(ranked: list[float], share: float) -> float:
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
