"""A call that is ready for a room which another carrier still holds: the next owner's side of a hand-over.

Its voice session is open and it is in no room. Whatever goes wrong here, the call stays with its owner; only the
registry's answer to a renewal of our own, after the room was passed to us, lets us join.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from bridge import Ending, Outcome, Said, Stop
from pool import metrics
from pool.call import HeldCall, Tell
from pool.endings import BAR_MS
from pool.memory import newer, turns_of
from pool.registry import Again, Grant, Offer, Rooms

log = structlog.get_logger()

T = TypeVar("T")

READY_LIMIT_S = 10.0
"""For the voice session to open; then the registry finds somebody quicker."""

NO_ROOM_BAR_MS = 2_000
"""Redis thinks that we have a slot: without a bar it would ask us again at once."""

AWAIT_S = 30.0
"""The longest wait for the owner; the registry ends an offer earlier."""

AGAIN_S = 0.1
"""After a request that Redis did not answer."""


class StandBy:
    """Permit, Journal and Cue of a call that may be passed to us; with the grant it is a held call like any other."""

    def __init__(
        self, carrier_id: str, offer: Offer, rooms: Rooms, *, tell: Tell, take: Callable[[Grant], HeldCall]
    ) -> None:
        """`take` makes the carrier hold the room of a grant, under a lease that is in doubt until it is renewed."""
        self.offer = offer
        self.stop = Stop()
        self.call: HeldCall | None = None
        """Set when the room was passed to us."""
        self.abandon: Callable[[], object] = lambda: None
        self._carrier_id = carrier_id
        self._rooms = rooms
        self._tell = tell
        self._take = take
        self._is_quiet = False
        self._is_slow = False
        self._slow = asyncio.get_running_loop().call_later(READY_LIMIT_S, self._give_up)

    # --- Cue ------------------------------------------------------------------------

    def ready(self) -> None:
        """The voice session stands."""
        self._slow.cancel()

    async def wait(self) -> Sequence[Said] | None:
        """Say that we are ready, wait for the room, and make sure of it; then the turns since the offer."""
        one = (self._carrier_id, self.offer.room, self.offer.fence)
        grant = None
        try:
            async with asyncio.timeout(AWAIT_S):
                if await _answered(lambda: self._rooms.stand_ready(*one)):
                    log.info("stood_ready", owner=self.offer.owner)
                    grant = await _answered(lambda: self._rooms.await_pass(*one, limit_s=AWAIT_S))
        except TimeoutError:
            return None
        if grant is None:
            return None
        self.call = self._take(grant)
        self.call.quiet(self._is_quiet)
        log.info("passed_to_us", new_fence=grant.fence)
        # In doubt: nobody joins on the word of a message that may have lain there for seconds.
        while not self.call.may_join():
            if self.stop.is_asked:
                return None
            if not await self.call.confirm():
                await asyncio.sleep(AGAIN_S)
        return turns_of(newer(grant.memory, than=self.offer.memory))

    # --- Permit ---------------------------------------------------------------------

    def may_speak(self) -> bool:
        """Not before the room is ours."""
        return self.call is not None and self.call.may_speak()

    def may_join(self) -> bool:
        """Not before the room is ours."""
        return self.call is not None and self.call.may_join()

    def turn_to_join(self) -> AbstractAsyncContextManager[None]:
        """At once: its caller is in mid-conversation."""
        return nullcontext()

    def token(self) -> str:
        """A join token under our own fence; worth nothing before there is one."""
        return "" if self.call is None else self.call.token()

    async def confirm(self) -> bool:
        """Whether the registry says now that the room is ours."""
        return self.call is not None and await self.call.confirm()

    def connected(self) -> None:
        """The call is in the room."""
        if self.call is not None:
            self.call.connected()

    def disconnected(self) -> None:
        """It is not."""
        if self.call is not None:
            self.call.disconnected()

    # --- Journal --------------------------------------------------------------------

    def event(self, name: str, **facts: int | float | str) -> None:
        """A step, for the story; before the room is ours it is told as one of standing by."""
        if self.call is not None:
            self.call.event(name, **facts)
        else:
            self._tell(self.offer.room, name, {"standing_by": 1, **facts})

    def callers(self, present: Mapping[str, int]) -> None:
        """Who is in the room."""
        if self.call is not None:
            self.call.callers(present)

    def turn(self, said: Said) -> None:
        """A finished turn; nobody can have said any before we are in the room."""
        if self.call is not None:
            self.call.turn(said)

    def quiet(self, is_quiet: bool) -> None:
        """Whether nobody speaks."""
        self._is_quiet = is_quiet
        if self.call is not None:
            self.call.quiet(is_quiet)

    # --- the end --------------------------------------------------------------------

    def close(self) -> None:
        """Nothing of it goes on, however it ended; also when it was cancelled before its voice session stood."""
        self._slow.cancel()

    async def give_back(self) -> None:
        """Draining: somebody else shall stand by. Not when the room is being passed to us at this moment."""
        if self.call is None and await self._decline(bar_ms=0):
            self.stop.ask(Ending.NOT_NEEDED)

    async def refuse(self) -> None:
        """There is no slot for it after all."""
        self.close()
        metrics.STAND_BYS.labels("no_room").inc()
        await self._decline(bar_ms=NO_ROOM_BAR_MS)

    async def over(self, outcome: Outcome) -> None:
        """The call ended and the room was never ours: say so, if somebody might still wait for us."""
        self._slow.cancel()
        is_failed = self._is_slow or outcome.ending not in (Ending.NOT_NEEDED, Ending.STOPPED)
        result = "slow" if self._is_slow else "failed" if is_failed else "not_needed"
        metrics.STAND_BYS.labels(result).inc()
        log.info("stood_by_in_vain", result=result, ending=outcome.ending.value, code=outcome.code)
        bar_ms = BAR_MS if is_failed else 0
        if not await self._decline(bar_ms=bar_ms):
            await self._give_on(bar_ms=bar_ms)

    async def _give_on(self, *, bar_ms: int) -> None:
        """Let somebody else have the room, should it have been passed to us in the moment in which we failed."""
        try:
            grant = await self._rooms.await_pass(self._carrier_id, self.offer.room, self.offer.fence, limit_s=0)
            if grant is not None:
                log.warning("passed_in_vain", new_fence=grant.fence)
                again = Again(failed=False, bar_ms=bar_ms)
                await self._rooms.release(self._carrier_id, grant.room, grant.fence, again)
        except (RedisError, OSError) as error:  # the lease ends by itself
            log.debug("give_on_failed", error=type(error).__name__)

    def _give_up(self) -> None:
        self._is_slow = True
        self.stop.ask(Ending.NOT_NEEDED)

    async def _decline(self, *, bar_ms: int) -> bool:
        try:
            return await self._rooms.decline(self._carrier_id, self.offer.room, self.offer.fence, bar_ms=bar_ms)
        except (RedisError, OSError) as error:  # the reservation ends by itself
            log.debug("decline_failed", error=type(error).__name__)
            return False


async def _answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until Redis answers. The caller sets the limit."""
    while True:
        try:
            return await ask()
        except (RedisError, OSError):
            await asyncio.sleep(AGAIN_S)
