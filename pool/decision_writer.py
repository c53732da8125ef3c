"""Decisions for `roompool why` on their way to Redis: whoever tells one never waits."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import structlog
from redis.exceptions import RedisError

from pool import metrics
from pool.base.outage import outage_of
from pool.journal import DecisionLog, Fact

log = structlog.get_logger()

STORY_BOUND = 256
"""Newest dropped: a story is not worth memory without end."""

AGAIN_S = 0.5
"""Between two looks whether Redis is back."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A decision: the how-manieth of its carrier's, and when it was taken, on the loop's clock in seconds."""

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
        """Wait until those so far are written, at most `limit_s`; how many are not is logged and counted."""
        try:
            async with asyncio.timeout(limit_s):
                await self._unwritten.join()
        except TimeoutError:
            number = self._unwritten.qsize() + 1  # and the one in hand
            log.warning("decisions_unwritten", number=number)
            metrics.STORY_DROPPED.inc(number)

    async def _write(self, told: _Told) -> None:
        loop = asyncio.get_running_loop()
        while True:
            late_ms = int(1000 * (loop.time() - told.at))  # not before what Redis did first
            try:
                await self._story.put(told.room, told.event, told.facts, number=told.number, late_ms=late_ms)
            except (RedisError, OSError) as error:
                if outage_of(error) is None:
                    raise
                # A Redis that stood still runs what it was sent meanwhile: a line a second would fill the story.
                await self._until_back()
            else:
                return

    async def _until_back(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            with suppress(RedisError, OSError):
                await self._story.ping()
                return
