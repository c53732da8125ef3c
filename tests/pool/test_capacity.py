"""Whether a carrier may take one more call."""

import pytest

from pool.capacity import Limits, Load, Refusal, refusal

LIMITS = Limits(capacity=2, max_loop_lag_s=0.1)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        pytest.param(Load(in_use=0), None, id="idle"),
        pytest.param(Load(in_use=1, loop_lag_s=0.1), None, id="at every limit but one below capacity"),
        pytest.param(Load(in_use=2), Refusal.FULL, id="full"),
        pytest.param(Load(in_use=3), Refusal.FULL, id="over"),
        pytest.param(Load(in_use=0, is_draining=True), Refusal.DRAINING, id="draining"),
        pytest.param(Load(in_use=0, loop_lag_s=0.11), Refusal.LOOP_LAG, id="late loop"),
        pytest.param(Load(in_use=9, is_draining=True, loop_lag_s=9), Refusal.DRAINING, id="all"),
    ],
)
def test_the_first_reason_that_holds(load: Load, expected: Refusal | None) -> None:
    """One more call, or why not."""
    assert refusal(load, LIMITS) is expected


def test_a_capacity_of_nothing_takes_nothing() -> None:
    """Zero is a way to switch a carrier off."""
    assert refusal(Load(in_use=0), Limits(capacity=0)) is Refusal.FULL
