"""A Prometheus histogram as it is scraped, and percentiles out of it. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many observations were no greater than each bound, rising to infinity."""

    cumulated: Mapping[float, float]

    @classmethod
    def read(cls, scraped: str, name: str) -> Self:
        """That series out of the text of `/metrics`, all its labels added up; empty when it is not there."""
        cumulated: dict[float, float] = {}
        for family in text_string_to_metric_families(scraped):
            for sample in family.samples:
                if sample.name == f"{name}_bucket":
                    bound = float(sample.labels["le"])
                    cumulated[bound] = cumulated.get(bound, 0.0) + sample.value
        return cls(dict(sorted(cumulated.items())))

    def since(self, earlier: Self) -> Self:
        """What was observed after an earlier scrape of the same process."""
        return type(self)({bound: count - earlier.cumulated.get(bound, 0.0) for bound, count in self.cumulated.items()})

    @property
    def count(self) -> int:
        """How many observations there are."""
        return round(max(self.cumulated.values(), default=0.0))

    def percentile(self, share: float) -> float:
        """What `share` (above 0, at most 1) of all are no greater than, as if a bucket's observations lay evenly in it.

        NaN of none, infinity where it lies above the last bound.
        """
        if not self.count:
            return math.nan
        wanted = share * self.count
        for (lower, before), (upper, upto) in pairwise([(0.0, 0.0), *self.cumulated.items()]):
            if upto >= wanted:
                return math.inf if math.isinf(upper) else lower + (upper - lower) * (wanted - before) / (upto - before)
        return math.inf
