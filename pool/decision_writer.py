"""Decisions for `roompool why` on their way to Redis: whoever tells one never waits."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from pool import metrics
from pool.journal import DecisionLog, Fact

STORY_BOUND = 256
"""Newest dropped: a story is not worth memory without end."""


class DecisionWriter:
    """The decisions of one carrier, a bounded queue of them."""

    def __init__(self, carrier_id: str, story: DecisionLog) -> None:
        self._carrier_id = carrier_id
        self._story = story
        self._unwritten: asyncio.Queue[tuple[str, str, Mapping[str, Fact]]] = asyncio.Queue(STORY_BOUND)

    def tell(self, room: str, event: str, facts: Mapping[str, Fact]) -> None:
        """Note a decision. Never blocks."""
        try:
            self._unwritten.put_nowait((room, event, {"carrier": self._carrier_id, **facts}))
        except asyncio.QueueFull:
            metrics.STORY_DROPPED.inc()

    async def write_forever(self) -> None:
        """Task: write them."""
        while True:
            room, event, facts = await self._unwritten.get()
            if not await self._story.append(room, event, **facts):
                metrics.STORY_DROPPED.inc()
            self._unwritten.task_done()

    async def written(self, *, limit_s: float) -> None:
        """Wait until those so far are written, at most `limit_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._unwritten.join()
