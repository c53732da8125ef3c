"""A held call: what a lease lets it do, and how the registry's answers reach it."""

import asyncio
from collections.abc import Mapping

import pytest

from bridge import Ending, Said
from pool.call import Desk, HeldCall
from pool.lease import Lease
from pool.registry import Renewal
from tests.pool.test_endings import GRANT


class Teller:
    """Collects what is told, and answers renewals as the test says."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, int | float | str]]] = []
        self.renewals = 0
        self.said: list[tuple[str, int, Said]] = []

    def note(self, room: str, fence: int, said: Said) -> None:
        self.said.append((room, fence, said))

    def tell(self, room: str, event: str, facts: Mapping[str, int | float | str]) -> None:
        self.told.append((event, facts))


def held_call(teller: Teller, *, sent_at: float, hold_s: float = 120.0) -> HeldCall:
    async def renew() -> bool:
        teller.renewals += 1
        return True

    desk = Desk(tell=teller.tell, note=teller.note, renew=renew, token=lambda grant: f"token {grant.fence}")
    return HeldCall(GRANT, Lease(GRANT.fence, sent_at=sent_at, hold_s=hold_s), desk, speaks_first=True)


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


@pytest.mark.parametrize(("answer", "ending"), [(Renewal.LOST, Ending.LEASE_LOST), (Renewal.OVER, Ending.ROOM_OVER)])
async def test_what_the_registry_says_reaches_the_call(answer: Renewal, ending: Ending) -> None:
    """It leaves with the reason, and the story says so once."""
    teller = Teller()
    call = held_call(teller, sent_at=_now())
    for _ in range(2):
        call.answered(answer, sent_at=_now())
    assert await call.stop.wait() is ending
    assert [event for event, _ in teller.told] == ["must_leave"]


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


async def test_a_renewal_carries_who_is_in_the_room() -> None:
    """Enough to restore the room when Redis lost it."""
    call = held_call(Teller(), sent_at=_now())
    call.callers({"PA_9": 99})
    held = call.held
    assert (held.room, held.sid, held.fence, held.callers) == ("r", "RM_1", 7, {"PA_9": 99})


def _now() -> float:
    return asyncio.get_running_loop().time()
