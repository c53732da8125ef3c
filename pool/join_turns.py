"""Whose turn it is to join: a few calls of a carrier at a time, in the order in which they were claimed.

A join is a handshake that costs a core some tens of milliseconds. Sixteen at once make everybody as late as the last;
in turn, half of them are there in half the time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HELD_S = 1.0
"""A turn is over after so long even if the join is not: one that waits for a server that does not answer costs no core,
and must not keep the others from trying."""


class JoinTurns:
    """Turns of one carrier."""

    def __init__(self, at_once: int) -> None:
        """`at_once`: how many joins may be under way; 0 for any number."""
        self._free = asyncio.Semaphore(at_once) if at_once else None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, first come first served, and have it for the block.

        Cancelled while waiting, none is taken.
        """
        if self._free is None:
            yield
            return
        await self._free.acquire()
        taken = _Taken(self._free)
        timer = asyncio.get_running_loop().call_later(HELD_S, taken.give_back)
        try:
            yield
        finally:
            timer.cancel()
            taken.give_back()


class _Taken:
    """One turn that is taken, and is given back once."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free: asyncio.Semaphore | None = free

    def give_back(self) -> None:
        free, self._free = self._free, None
        if free is not None:
            free.release()
