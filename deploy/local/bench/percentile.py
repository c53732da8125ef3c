"""A percentile that was measured. Pure."""

import math
from collections.abc import Iterable


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (above 0, at most 1) of all are no greater than, by nearest rank; NaN of none."""
    ranked = sorted(values)
    return ranked[max(math.ceil(share * len(ranked)), 1) - 1] if ranked else float("nan")
