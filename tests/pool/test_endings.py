"""What becomes of a room after each ending."""

import pytest

from bridge import Ending, Outcome
from pool.endings import CONSEQUENCES, release_for
from pool.registry import Again, Gone, Grant, Release, Rested

GRANT = Grant(
    room="r",
    sid="RM_1",
    created_unix_ms=1,
    fence=7,
    ttl_ms=3000,
    attempt=1,
    wanted_unix_ms=5,
    queued_unix_ms=5,
    callers={"PA_1": 5},
    claimed_unix_ms=12,
)


@pytest.mark.parametrize("ending", Ending)
def test_every_ending_has_a_consequence(ending: Ending) -> None:
    """A new ending cannot be forgotten, and every failure tells the operator what to check."""
    consequence = CONSEQUENCES[ending]
    assert bool(consequence.cure) == consequence.is_failure
    assert consequence.then in ("again", "rested") or not consequence.is_failure
    assert consequence.then == "again" or not consequence.bar_ms


@pytest.mark.parametrize(
    ("ending", "release"),
    [
        (Ending.CALLER_LEFT, Gone(served={"PA_1": 5, "PA_2": 9})),
        (Ending.AGENT_HUNG_UP, Rested(served={"PA_1": 5, "PA_2": 9})),
        (Ending.STOPPED, Again(failed=False)),
        (Ending.VOICE_REFUSED, Again(failed=True, bar_ms=30_000)),
        (Ending.ROOM_LOST, Again(failed=True, counts=False, bar_ms=30_000)),
        (Ending.VOICE_LOST, Again(failed=True, counts=False)),
        (Ending.HUNG_UP, Rested(served={"PA_1": 5, "PA_2": 9})),
        (Ending.IDENTITY_TAKEN, Rested(served={"PA_1": 5, "PA_2": 9})),
        (Ending.LEASE_LOST, None),
        (Ending.PASSED, None),
        (Ending.NOT_NEEDED, None),
    ],
)
def test_a_room_is_given_back_as_its_call_ended(ending: Ending, release: Release | None) -> None:
    """Those served are the ones the grant named and the ones seen inside; a lost room is not ours to give."""
    assert release_for(GRANT, Outcome(ending, served={"PA_2": 9})) == release
