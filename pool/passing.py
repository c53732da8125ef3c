"""The owner's side of a hand-over, against the registry: what `pool.handover` decides, done."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import structlog
from redis.exceptions import RedisError

from pool import metrics
from pool.call import HeldCall
from pool.handover import BACKOFF_S, POLL_S, QUIET_FOR_S, QUIET_LIMIT_S, READY_LIMIT_S, HandOver, HandOverEvent, Stage
from pool.memory import MemoryWriter
from pool.registry import Rooms

log = structlog.get_logger()

AT_ONCE = 2
"""Calls handed over at the same time: each holds a second voice session, which vendors count."""

SWAP_LIMIT_S = 2.0
"""For one agent to take another's place. The next call waits for that: two at a time would share the processor just
when a caller has no agent to hear."""

LOOK_S = 0.25
"""Between looks for a call that may be handed over, when there is none."""


class Passing:
    """Hands the calls of one carrier to others. Used by one task at a time."""

    def __init__(
        self, carrier_id: str, rooms: Rooms, memory_writer: MemoryWriter, *, renew: Callable[[], Awaitable[bool]]
    ) -> None:
        self._carrier_id = carrier_id
        self._rooms = rooms
        self._memory_writer = memory_writer
        self._renew = renew
        self._loop = asyncio.get_running_loop()
        self._tries: dict[tuple[str, int], HandOver] = {}
        """By room and fence: each call's hand-over, over all its tries."""
        self._again_at: dict[tuple[str, int], float] = {}
        self._under_way: set[tuple[str, int]] = set()
        self._swapping: HeldCall | None = None
        """The call that was passed last; its agent is there until the next one has come."""
        self._swap_ends_at = 0.0

    async def forever(self, calls: Callable[[], Collection[HeldCall]]) -> None:
        """Task: hand over whatever `calls` gives, oldest first, at most `AT_ONCE` at a time, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(self._lane(calls), name=f"hand_over_{number}")

    async def _lane(self, calls: Callable[[], Collection[HeldCall]]) -> None:
        while True:
            call = self._next(calls())
            if call is None:
                await asyncio.sleep(LOOK_S)
                continue
            over = self._tries.setdefault(call.key, HandOver())
            self._under_way.add(call.key)
            try:
                await self._hand_over(call, over)
            except Exception:  # the boundary of a hand-over: it must cost neither this call nor any other
                metrics.HANDOVERS.labels("bug").inc()
                log.exception("hand_over_bug", room=call.grant.room, fence=call.grant.fence)
                over.advance(HandOverEvent.BUG)
                self._again_at[call.key] = self._loop.time() + BACKOFF_S[-1]
            finally:
                self._under_way.discard(call.key)

    def _next(self, calls: Collection[HeldCall]) -> HeldCall | None:
        """The oldest call that may be handed over now."""
        alive = {call.key for call in calls}
        for key in self._tries.keys() - alive:
            del self._tries[key]
            self._again_at.pop(key, None)
        now = self._loop.time()
        free = (call for call in calls if call.key not in self._under_way and call.can_be_passed_on())
        due = (call for call in free if self._again_at.get(call.key, now) <= now)
        return min(due, key=lambda call: call.grant.fence, default=None)

    async def _hand_over(self, call: HeldCall, over: HandOver) -> None:
        """One try for one call."""
        before = over.why
        over.advance(HandOverEvent.RESTED)
        async with asyncio.TaskGroup() as group:
            ends = [
                group.create_task(self._try(call, over), name="try"),
                group.create_task(call.over.wait(), name="call_over"),
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        if over.stage is Stage.PASSED:
            metrics.HANDOVERS.labels("passed").inc()
            return
        if call.over.is_set():
            over.advance(HandOverEvent.ENDED)
        reason = "ended" if over.stage is Stage.OVER else over.why
        metrics.HANDOVERS.labels(reason).inc()
        if reason != before and reason != "ended":  # a pool without room is asked for as long as the call lasts
            log.info("hand_over_failed", room=call.grant.room, fence=call.grant.fence, reason=reason)
            call.event("hand_over_failed", reason=reason)
        self._again_at[call.key] = self._loop.time() + over.backoff_s
        with suppress(RedisError, OSError):  # the reservation ends by itself
            await self._rooms.withdraw(self._carrier_id, call.grant.room, call.grant.fence)

    async def _try(self, call: HeldCall, over: HandOver) -> None:
        began_at = self._loop.time()
        while True:
            match over.stage:
                case Stage.SEEKING:
                    over.advance(await self._seek(call, began_at))
                    if over.stage is Stage.SEEKING:
                        await asyncio.sleep(POLL_S)
                case Stage.SETTLING:
                    over.advance(await self._settle(call))
                case Stage.PASSING:
                    over.advance(await self._pass(call))
                case _:
                    return

    async def _seek(self, call: HeldCall, began_at: float) -> HandOverEvent:
        try:
            offered = await self._rooms.offer(self._carrier_id, call.grant.room, call.grant.fence)
        except (RedisError, OSError):
            return HandOverEvent.UNREACHABLE
        if offered.next is None:
            return HandOverEvent.NOBODY
        if offered.ready:
            return HandOverEvent.READY
        return HandOverEvent.TOO_SLOW if self._loop.time() - began_at > READY_LIMIT_S else HandOverEvent.PICKED

    async def _settle(self, call: HeldCall) -> HandOverEvent:
        """Wait for the moment, with everything that was said until then written."""
        while True:
            await self._swapped()
            if not await self._memory_writer.flush(*call.key):
                return HandOverEvent.UNREACHABLE
            await call.until_quiet(for_s=QUIET_FOR_S, limit_s=QUIET_LIMIT_S)
            if not await self._memory_writer.flush(*call.key):
                return HandOverEvent.UNREACHABLE
            if not self._is_swapping():  # no await between this and the pass
                return HandOverEvent.SETTLED if call.can_be_passed_on() else HandOverEvent.NOT_NOW

    def _is_swapping(self) -> bool:
        call = self._swapping
        return call is not None and not call.over.is_set() and self._loop.time() < self._swap_ends_at

    async def _swapped(self) -> None:
        """Wait until no other call of ours is between two agents."""
        if self._swapping is not None and self._is_swapping():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._swap_ends_at):
                    await self._swapping.over.wait()

    async def _pass(self, call: HeldCall) -> HandOverEvent:
        self._swapping, self._swap_ends_at = call, self._loop.time() + SWAP_LIMIT_S
        try:
            fence = await self._rooms.pass_on(self._carrier_id, call.grant.room, call.grant.fence)
        except (RedisError, OSError):
            await self._renew()  # it may have run
            return HandOverEvent.UNREACHABLE
        if fence is None:
            self._swapping = None
            return HandOverEvent.NOT_PASSED
        call.passed()  # no await in between: from here on the next owner may speak
        log.info("handed_over", room=call.grant.room, fence=call.grant.fence, new_fence=fence)
        return HandOverEvent.PASSED
