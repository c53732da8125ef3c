"""When dead carriers are started again, and when no more."""

from hypothesis import given
from hypothesis import strategies as st

from pool.restarts import BACK_OFF_S, LOOP_DEATHS, LOOP_WINDOW_S, YOUNG_S, Restarts


def test_one_that_had_worked_is_replaced_at_once() -> None:
    """However often."""
    restarts = Restarts()
    assert [restarts.wait_s(0, at, lived_s=YOUNG_S) for at in range(20)] == [0.0] * 20
    assert not restarts.is_loop(20.0, any_ready=False)


def test_one_that_dies_young_is_waited_for_longer_each_time() -> None:
    """In its own slot: a neighbour's first death costs no wait."""
    restarts = Restarts()
    assert [restarts.wait_s(0, 0.0, lived_s=1.0) for _ in range(7)] == [0.0, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0]
    assert restarts.wait_s(1, 0.0, lived_s=1.0) == 0.0


def test_having_worked_ends_the_row() -> None:
    """The next young death is the first again."""
    restarts = Restarts()
    for _ in range(3):
        restarts.wait_s(0, 0.0, lived_s=1.0)
    restarts.wait_s(0, 100.0, lived_s=60.0)
    assert restarts.wait_s(0, 101.0, lived_s=1.0) == BACK_OFF_S[0]


def test_five_young_deaths_in_a_minute_are_a_loop_unless_one_is_ready() -> None:
    """Of any slots."""
    restarts = Restarts()
    for number in range(LOOP_DEATHS):
        assert not restarts.is_loop(float(number), any_ready=False)
        restarts.wait_s(number % 2, float(number), lived_s=0.5)
    assert restarts.is_loop(4.0, any_ready=False)
    assert not restarts.is_loop(4.0, any_ready=True)
    assert not restarts.is_loop(LOOP_WINDOW_S + 1.0, any_ready=False)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20), st.integers(0, 3))))
def test_it_is_a_loop_exactly_when_the_last_five_young_deaths_are_close(
    deaths: list[tuple[float, float, int]],
) -> None:
    """Whatever else died."""
    restarts = Restarts()
    young: list[float] = []
    for at, lived_s, slot in sorted(deaths):
        restarts.wait_s(slot, at, lived_s=lived_s)
        young += [at] if lived_s < YOUNG_S else []
        last = young[-LOOP_DEATHS:]
        close = len(last) == LOOP_DEATHS and at - last[0] <= LOOP_WINDOW_S
        assert restarts.is_loop(at, any_ready=False) == close
