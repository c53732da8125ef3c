"""What may be awaited of a call: who comes, who is heard, who falls silent, each with a limit.

Decides nothing about the room; it asks the witness again whenever something was noticed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from bridge.caller.errors import CallOver, NotInTime
from bridge.caller.sound import FRAME_S
from bridge.caller.witness import AgentStay, Witness

T = TypeVar("T")


class Waits:
    """The awaiting half of a `Caller`. Every method raises `NotInTime` at its limit, `CallOver` once the call is over.

    Attributes:
        witness: What was noticed so far.
        connected_at: When we were in the room, on the monotonic clock; 0.0 until then.
    """

    def __init__(self) -> None:
        self.witness = Witness()
        self.connected_at = 0.0
        self._over: str = ""
        self._changed = asyncio.Event()
        self._waiting = 0

    async def agent_seen(self, timeout_s: float = 20.0, *, since: float = 0.0) -> AgentStay:
        """The first agent that came at or after `since` (default: ever)."""
        return await self.until(
            lambda: next((stay for stay in self.witness.stays if stay.seen_at >= since), None),
            what="no agent was seen in the room",
            timeout_s=timeout_s,
        )

    async def agent_heard(self, timeout_s: float = 20.0, *, since: float = 0.0) -> float:
        """When the first audible frame arrived of an agent that came at or after `since` (default: ever)."""

        def heard() -> float | None:
            times = (stay.heard_at for stay in self.witness.stays if stay.seen_at >= since)
            return min((at for at in times if at is not None), default=None)

        return await self.until(heard, what="no agent was heard", timeout_s=timeout_s)

    async def until_agent_audible(self, timeout_s: float = 20.0, *, since: float | None = None) -> float:
        """When an agent was next audible at or after `since` (default: now); `since` itself if it was just then."""
        start = asyncio.get_running_loop().time() if since is None else since

        def audible() -> float | None:
            later = (s for s in self.witness.audible() if s.ended_at > start)
            return next((max(s.started_at + FRAME_S, start) for s in later), None)

        return await self.until(audible, what="the agent was not audible", timeout_s=timeout_s)

    async def until_agent_silent(self, for_ms: float, timeout_s: float = 20.0) -> float:
        """Wait until no agent has been audible for `for_ms`; returns when the last audible frame arrived.

        An agent that was never audible counts as silent since we connected.
        """

        def silent() -> float | None:
            last = max(self.witness.last_audible_at or 0.0, self.connected_at)
            return last if self.known_until() - last >= for_ms / 1000 else None

        return await self.until(silent, what="the agent did not fall silent", timeout_s=timeout_s, tick_s=for_ms / 1000)

    async def fell_silent(self, after: float, for_ms: float, timeout_s: float = 20.0) -> float:
        """When the agent that was audible at `after` stopped: its last audible frame before `for_ms` of silence.

        An agent that was not audible at `after` never did: that is `NotInTime`, too.
        """

        def stopped() -> float | None:
            return self.witness.fell_silent_at(after, for_s=for_ms / 1000, known_until=self.known_until())

        return await self.until(stopped, what="the agent did not stop speaking", timeout_s=timeout_s, tick_s=0.1)

    async def stay(self, seconds: float) -> None:
        """Stay in the room for so long.

        Raises:
            CallOver: it closed on us meanwhile.
        """
        with contextlib.suppress(NotInTime):
            await self.until(lambda: None, what="nothing", timeout_s=seconds)

    async def agent_gone(self, timeout_s: float = 20.0) -> float:
        """When the last agent left; now if there is none."""

        def gone() -> float | None:
            if self.witness.present:
                return None
            return max(
                (stay.left_at for stay in self.witness.stays if stay.left_at), default=asyncio.get_running_loop().time()
            )

        return await self.until(gone, what="the agent did not leave", timeout_s=timeout_s)

    async def agent_state(self, state: str, timeout_s: float = 20.0) -> float:
        """When a present agent last showed this `lk.agent.state`, once one does."""

        def shown() -> float | None:
            current = (stay.states[-1] for stay in self.witness.present if stay.states)
            return next((at for at, value in current if value == state), None)

        return await self.until(shown, what=f"no agent showed the state {state!r}", timeout_s=timeout_s)

    def known(self) -> str:
        """What is known of the agent now, as a clause."""
        return self.witness.known(asyncio.get_running_loop().time())

    def known_until(self) -> float:
        """Up to when we know what was audible, on the monotonic clock."""
        return self.witness.known_until(asyncio.get_running_loop().time())

    async def until(
        self, answer: Callable[[], T | None], *, what: str, timeout_s: float, tick_s: float | None = None
    ) -> T:
        """Wait until `answer` gives one; it is asked again whenever something was noticed, and every `tick_s`."""
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while (found := answer()) is None:
                    if self._over:
                        raise CallOver(self._over)
                    changed = self._changed
                    # Not by wait_for: before Python 3.12 it can swallow the end of the limit around it.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(tick_s):
                            await changed.wait()
                return found
        except TimeoutError:
            raise NotInTime(what, limit_s=timeout_s, known=self.known()) from None
        finally:
            self._waiting -= 1

    def _pulse(self) -> None:
        if self._waiting:
            self._changed.set()
            self._changed = asyncio.Event()

    def _end(self, reason: str) -> None:
        if not self._over or reason == "hung up":
            self._over = reason
        self._pulse()
