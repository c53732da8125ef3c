"""The end of a call is said once, and silences it in the same step."""

import pytest

from bridge.call_end import CallEnd
from bridge.spec import Ending, Stop


def test_the_first_ending_counts() -> None:
    """What follows from it ends the call no second time."""
    silenced: list[bool] = []
    over = CallEnd(Stop(), silence=lambda: silenced.append(True))
    over.end(Ending.CALLER_LEFT)
    over.end(Ending.ROOM_OVER, "late")
    assert (over.ending, over.code, silenced) == (Ending.CALLER_LEFT, "", [True])


@pytest.mark.parametrize("noticed", [Ending.LEASE_LOST, Ending.ROOM_LOST])
async def test_what_the_owner_asked_for_goes_before_what_was_noticed(noticed: Ending) -> None:
    """A room that was passed on looks lost from inside, and must not be told as lost."""
    stop = Stop()
    over = CallEnd(stop, silence=lambda: None)
    stop.ask(Ending.PASSED)
    over.end(noticed, "evicted")
    assert (over.ending, over.code) == (Ending.PASSED, "")
