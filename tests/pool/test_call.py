"""A held call: what a lease lets it do, and how the registry's answers reach it."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext

import pytest

from bridge import Ending, Said
from pool.call import CarrierCallbacks, HeldCall
from pool.lease import Lease
from pool.registry import Renewal
from tests.pool.test_endings import GRANT


class Teller:
    """Collects what is told, and answers renewals as the test says."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, int | float | str]]] = []
        self.renewals = 0
        self.is_answering = True
        self.said: list[tuple[str, int, Said]] = []

    def note(self, room: str, fence: int, said: Said) -> None:
        self.said.append((room, fence, said))

    def tell(self, room: str, event: str, facts: Mapping[str, int | float | str]) -> None:
        self.told.append((event, facts))


def held_call(teller: Teller, *, sent_at: float, hold_s: float = 120.0) -> HeldCall:
    async def renew() -> bool:
        teller.renewals += 1
        return teller.is_answering

    carrier = CarrierCallbacks(
        tell=teller.tell,
        note=teller.note,
        renew=renew,
        token=lambda grant: f"token {grant.fence}",
        turn_to_join=nullcontext,
    )
    return HeldCall(GRANT, Lease(GRANT.fence, sent_at=sent_at, hold_s=hold_s), carrier, speaks_first=True)


async def test_a_fresh_grant_may_join_and_speak() -> None:
    """From the moment the claim was sent."""
    call = held_call(Teller(), sent_at=_now())
    assert call.may_join()
    assert call.may_speak()


async def test_a_grant_that_was_slept_through_may_do_neither() -> None:
    """The first frame after waking is already not spoken."""
    call = held_call(Teller(), sent_at=_now() - 5)
    assert not call.may_speak()
    assert not call.may_join()


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (Renewal.LOST, Ending.LEASE_LOST),
        (Renewal.OVER, Ending.ROOM_OVER),
        (Renewal.PASSED, Ending.PASSED),
        (Renewal.HANG_UP, Ending.HUNG_UP),
    ],
)
async def test_what_the_registry_says_reaches_the_call(answer: Renewal, ending: Ending) -> None:
    """It leaves with the reason, and the story says so once."""
    teller = Teller()
    call = held_call(teller, sent_at=_now())
    for _ in range(2):
        call.answered(answer, sent_at=_now())
    assert await call.stop.wait() is ending
    assert [event for event, _ in teller.told] == ["must_leave"]


async def test_a_call_that_was_passed_on_is_mute_in_the_same_step() -> None:
    """Before anything else may run: the next owner may be heard from now on."""
    teller = Teller()
    call = held_call(teller, sent_at=_now())
    call.passed()
    assert not call.may_speak()
    assert await call.stop.wait() is Ending.PASSED
    call.answered(Renewal.LOST, sent_at=_now())
    assert await call.stop.wait() is Ending.PASSED
    assert [facts for event, facts in teller.told if event == "must_leave"] == [{"reason": "passed"}]


async def test_a_wish_to_hang_up_leaves_the_room_ours() -> None:
    """The call ends as if the agent had hung up, and may say its last words."""
    call = held_call(Teller(), sent_at=_now())
    call.answered(Renewal.HANG_UP, sent_at=_now())
    assert call.may_speak()


async def test_turns_are_kept_for_the_next_owner() -> None:
    """Under the fence they were said under."""
    teller = Teller()
    held_call(teller, sent_at=_now()).turn(Said("caller", "hello"))
    assert teller.said == [("r", 7, Said("caller", "hello"))]


async def test_a_token_is_for_the_grant_it_was_asked_under() -> None:
    """And a fresh one each time."""
    assert held_call(Teller(), sent_at=_now()).token() == "token 7"


async def test_the_quiet_moment_comes_when_nobody_has_spoken_for_a_while() -> None:
    """A pause that is too short begins anew with the next word."""
    call = held_call(Teller(), sent_at=_now())
    assert not await call.until_quiet(for_s=0.05, limit_s=0.1)  # nobody has told us anything yet
    call.quiet(True)
    assert await call.until_quiet(for_s=0.05, limit_s=5)
    assert await call.until_quiet(for_s=0.05, limit_s=0)
    call.quiet(False)
    assert not await call.until_quiet(for_s=0.05, limit_s=0.1)


async def test_redis_away_for_too_long_ends_the_call() -> None:
    """Holding has an end."""
    call = held_call(Teller(), sent_at=_now() - 10, hold_s=5)
    call.unanswered(sent_at=_now() - 0.1)
    assert call.stop.is_asked


async def test_a_broken_connection_is_confirmed_only_by_an_answer() -> None:
    """No answer, or an old one, does not let a stale agent come back."""
    teller = Teller()
    call = held_call(teller, sent_at=_now())
    call.connected()
    call.disconnected()
    assert not await call.confirm()
    call.answered(Renewal.MINE, sent_at=_now())
    assert await call.confirm()
    assert teller.renewals == 2


async def test_a_call_that_has_ended_is_told_nothing_more() -> None:
    """A renewal that crosses its release on the way finds the room given up: that is no loss, and no line for `why`."""
    teller = Teller()
    call = held_call(teller, sent_at=_now())
    call.over.set()
    call.answered(Renewal.LOST, sent_at=_now())
    call.unanswered(sent_at=_now())
    assert (teller.told, call.stop.is_asked) == ([], False)


async def test_without_an_answer_nothing_is_confirmed() -> None:
    """Not even a lease that is still running, in a room that was never lost."""
    teller = Teller()
    call = held_call(teller, sent_at=_now())
    call.connected()
    assert await call.confirm()
    teller.is_answering = False
    assert not await call.confirm()
    assert call.may_join()


async def test_a_renewal_carries_who_is_in_the_room() -> None:
    """Enough to restore the room when Redis lost it."""
    call = held_call(Teller(), sent_at=_now())
    call.callers({"PA_9": 99})
    held = call.held
    assert (held.room, held.sid, held.fence, held.callers) == ("r", "RM_1", 7, {"PA_9": 99})


def _now() -> float:
    return asyncio.get_running_loop().time()
