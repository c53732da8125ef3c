"""A carrier without calls: it claims, renews at a carrier's pace on connections of its own, and notes what it hears."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from pool.carrier import RENEW_AGAIN_S, RENEW_S
from pool.lease import ATTEMPT_LIMIT_S
from pool.registry import Grant, Held, Renewal, Rooms
from pool.registry.connect import lease_redis
from pool.wake import WakeOptions, WakeWorker, run_wake_workers

CLAIM_S = 0.1


@dataclass
class Holder:
    """One carrier. Rooms that it hears to be lost are kept apart."""

    rooms: Rooms
    name: str
    capacity: int = 50
    grants: dict[str, Grant] = field(default_factory=dict)
    """By room, those it holds."""
    lost: list[tuple[str, Renewal]] = field(default_factory=list)
    ever: list[Grant] = field(default_factory=list)
    """Every grant it was given, in order."""
    failures: int = 0
    """Commands that Redis did not answer."""
    granted: asyncio.Queue[Grant] = field(default_factory=lambda: asyncio.Queue(maxsize=1000))
    renewed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by each round of renewals that was answered."""

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str, name: str) -> AsyncIterator["Holder"]:
        redis = lease_redis(url)
        try:
            yield cls(Rooms(redis), name)
        finally:
            await redis.aclose()

    async def claim(self) -> Grant | None:
        """Sweep, and claim one room, if there is one and Redis answers."""
        try:
            await self.rooms.due()
            answer = await self.rooms.claim_next(self.name, capacity=self.capacity)
        except (RedisError, OSError):
            self.failures += 1
            return None
        if not isinstance(answer, Grant):
            return None
        self.ever.append(answer)
        self.granted.put_nowait(answer)
        self.grants[answer.room] = answer
        return answer

    async def renew(self) -> bool:
        """Renew everything once; whether Redis answered."""
        held = list(self.grants.values())
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_S):
                answers = await self.rooms.renew(self.name, [_held(grant) for grant in held])
        except (RedisError, OSError):
            self.failures += 1
            return False
        for grant, answer in zip(held, answers, strict=True):
            if isinstance(answer, Renewal) and answer is not Renewal.MINE:
                self.lost.append((grant.room, answer))
                if self.grants.get(grant.room) is grant:
                    del self.grants[grant.room]
        self.renewed.set()
        return True

    async def renew_forever(self) -> None:
        """Task, as a carrier does it."""
        while True:
            answered = await self.renew()
            await asyncio.sleep(RENEW_S if answered else RENEW_AGAIN_S)

    async def claim_forever(self) -> None:
        """Task: over and over."""
        while True:
            await self.claim()
            await asyncio.sleep(CLAIM_S)


class Woken:
    """A holder whose jobs make it claim."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self.times = 0
        self.woke = asyncio.Event()

    async def run(self, url: str, stop: asyncio.Event) -> None:
        """Task: take jobs from the queue until told to stop."""

        def build() -> WakeWorker:
            options = WakeOptions(self, "one", lambda: not stop.is_set(), asyncio.Event(), lambda reason: None)
            return WakeWorker.connect(url, options)

        await run_wake_workers(build, stop)

    async def wake(self) -> None:
        self.times += 1
        self.woke.set()
        await self._holder.claim()

    async def room_finished(self, room: str) -> None:
        raise AssertionError(f"nobody said that {room} is over")


def _held(grant: Grant) -> Held:
    return Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, dict(grant.callers))
