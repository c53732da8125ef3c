"""Which voice sessions were left open by a process that could have ended them."""

import pytest

from deploy.local.chaos.sessions import Reports, still_open, unended

KILLED_MS = 10_000


def session(name: str, ending: str | None, opened_unix_ms: int = 5_000) -> dict[str, object]:
    return {"session_id": name, "ending": ending, "opened_unix_ms": opened_unix_ms}


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([session("a", "client_ended"), session("b", "hung_up")], []),
        ([session("a", "lost")], ["a"]),
        ([session("a", None)], ["a"]),
        ([session("k", "lost")], []),
        ([session("untold", "lost")], []),
        ([session("untold", "lost", KILLED_MS + 2_000)], ["untold"]),
    ],
    ids=["ended", "left", "open", "of the killed", "of nobody, before the kill", "of nobody, long after"],
)
def test_only_a_killed_process_may_leave_one(reports: Reports, expected: list[str]) -> None:
    """`a` and `b` are of a carrier that lives, `k` of the killed one; of `untold` nobody ever told."""
    carriers = {"a": "alive", "b": "alive", "k": "dead"}
    assert unended(reports, carriers, killed={"dead"}, killed_unix_ms=KILLED_MS) == expected


def test_where_nobody_was_killed_nobody_may() -> None:
    """Also not one that nobody told of."""
    reports = [session("untold", "lost")]
    assert unended(reports, {}, killed=set(), killed_unix_ms=KILLED_MS) == ["untold"]


def test_open_ones_are_waited_for() -> None:
    """Ending is open as long as it is None."""
    assert still_open([session("a", None), session("b", "lost")]) == 1
