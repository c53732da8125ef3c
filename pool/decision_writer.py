"""Decisions for `roompool why` on their way to Redis: whoever tells one never waits."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import structlog
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NotInTime

from pool import metrics
from pool.journal import DecisionLog, Fact

log = structlog.get_logger()

STORY_BOUND = 256
"""Newest dropped: a story is not worth memory without end."""

AGAIN_S = 0.5
"""Between two looks whether Redis is back."""

AWAY = (Unreachable, NotInTime, OSError)
"""What a repeat may cure. What an outage makes a carrier decide is told when it is over."""


@dataclass(frozen=True, slots=True)
class _Told:
    room: str
    event: str
    facts: Mapping[str, Fact]
    number: int
    at: float


class DecisionWriter:
    """The decisions of one carrier, a bounded queue of them."""

    def __init__(self, carrier_id: str, story: DecisionLog) -> None:
        self._carrier_id = carrier_id
        self._story = story
        self._numbers = count(1)
        self._unwritten: asyncio.Queue[_Told] = asyncio.Queue(STORY_BOUND)

    def tell(self, room: str, event: str, facts: Mapping[str, Fact]) -> None:
        """Note a decision. Never blocks."""
        at = asyncio.get_running_loop().time()
        told = _Told(room, event, {"carrier": self._carrier_id, **facts}, next(self._numbers), at)
        try:
            self._unwritten.put_nowait(told)
        except asyncio.QueueFull:
            metrics.STORY_DROPPED.inc()

    async def write_forever(self) -> None:
        """Task: write them, oldest first. While Redis is away they wait; what it refuses is logged and lost."""
        while True:
            told = await self._unwritten.get()
            try:
                await self._write(told)
            except RedisError as error:
                log.warning("decision_lost", room=told.room, decision=told.event, reason=type(error).__name__)
                metrics.STORY_DROPPED.inc()
            self._unwritten.task_done()

    async def written(self, *, limit_s: float) -> None:
        """Wait until those so far are written, at most `limit_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._unwritten.join()

    async def _write(self, told: _Told) -> None:
        loop = asyncio.get_running_loop()
        while True:
            late_ms = round(1000 * (loop.time() - told.at))
            try:
                await self._story.put(told.room, told.event, told.facts, number=told.number, late_ms=late_ms)
            except AWAY:
                # A Redis that stood still runs what it was sent meanwhile: a line a second would fill the story.
                await self._until_back()
            else:
                return

    async def _until_back(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            with suppress(*AWAY):
                await self._story.ping()
                return
