"""What the receiver has to say in rooms' stories: that a webhook came, and why it was ignored. Best effort, by design.

A remark never holds up an answer to LiveKit, nor changes it: it is laid down here, and written when Redis has time.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from pool.contract import Heard

WAITING_BOUND = 1000
"""Remarks on their way to Redis. Newest dropped: a story is not worth memory without end."""

AT_ONCE = 100
"""In one pipeline."""


class Storyteller(Protocol):
    """Where remarks go: `pool.client.PoolClient`."""

    async def tell(self, heard: Sequence[Heard]) -> bool: ...


class Remarks:
    """Remarks that wait to be written, oldest first."""

    def __init__(self, *, on_lost: Callable[[int], None] = lambda number: None) -> None:
        self._waiting: asyncio.Queue[Heard] = asyncio.Queue(WAITING_BOUND)
        self._on_lost = on_lost

    def add(self, heard: Heard) -> None:
        """Lay one down; never waits, and drops it when too many wait."""
        try:
            self._waiting.put_nowait(heard)
        except asyncio.QueueFull:
            self._on_lost(1)

    async def tell_forever(self, pool: Storyteller) -> None:
        """Task: write remarks as they come, many at once when they come quickly. What Redis does not take is lost."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            if not await pool.tell(batch):
                self._on_lost(len(batch))
            for _ in batch:
                self._waiting.task_done()

    async def told(self, *, limit_s: float) -> None:
        """Wait until what was laid down is written or lost, at most `limit_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._waiting.join()
