"""Joins that the receiver heard of, and why it ignored one, on their way into rooms' stories. Best effort, by design.

A line never holds up an answer to LiveKit, nor changes it: it is laid down here, and written when Redis has time.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from pool.contract import Heard

WAITING_BOUND = 1000
"""Lines on their way to Redis. Newest dropped: a story is not worth memory without end."""

AT_ONCE = 100
"""In one pipeline."""


class StoryStore(Protocol):
    """Where lines go: `pool.client.PoolClient`."""

    async def tell(self, heard: Sequence[Heard]) -> bool: ...


class StoryWriter:
    """Lines that wait to be written, oldest first."""

    def __init__(self, *, on_dropped: Callable[[int], None] = lambda number: None) -> None:
        self._waiting: asyncio.Queue[Heard] = asyncio.Queue(WAITING_BOUND)
        self._on_dropped = on_dropped

    def add(self, heard: Heard) -> None:
        """Lay one down; never waits, and drops it when too many wait."""
        try:
            self._waiting.put_nowait(heard)
        except asyncio.QueueFull:
            self._on_dropped(1)

    async def write_forever(self, pool: StoryStore) -> None:
        """Task: write lines as they come, many at once when they come quickly. What Redis does not take is lost."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            if not await pool.tell(batch):
                self._on_dropped(len(batch))
            for _ in batch:
                self._waiting.task_done()

    async def written(self, *, limit_s: float) -> None:
        """Wait until what was laid down is written or lost, at most `limit_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._waiting.join()
