"""The end of a call: said once, by whichever of its parts learns of it first."""

import asyncio
from collections.abc import Callable

from bridge.spec import Ending, Stop


class CallEnd:
    """Whether a call is over, and how it ended. The first ending counts."""

    def __init__(self, stop: Stop, *, silence: Callable[[], object]) -> None:
        """`silence` is called in the step in which the call ends: whoever must leave says nothing more."""
        self.ending, self.code = Ending.BUG, ""
        self._stop = stop
        self._silence = silence
        self._over = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether somebody ended it."""
        return self._over.is_set()

    def end(self, ending: Ending, code: str = "") -> None:
        """End it. What the owner asked for goes before what we noticed: a room that is passed on is lost, too."""
        if self._over.is_set():
            return
        if self._stop.is_asked:
            ending, code = self._stop.ending, ""
        self.ending, self.code = ending, code
        self._over.set()
        self._silence()

    async def wait(self) -> None:
        """Wait until it is over."""
        await self._over.wait()
