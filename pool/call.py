"""One room that this carrier holds: its lease, what its call may do, and what the call tells."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from bridge import Ending, Said, Stop
from pool.lease import Lease, Leave, State
from pool.registry import Grant, Held, Renewal

log = structlog.get_logger()

Tell = Callable[[str, str, Mapping[str, int | float | str]], None]
"""Room, event, facts: an entry for `roompool why`. Never blocks."""

ENDINGS: Mapping[Leave, Ending] = {
    Leave.LOST: Ending.LEASE_LOST,
    Leave.OVER: Ending.ROOM_OVER,
    Leave.HOLD_ENDED: Ending.LEASE_LOST,
}


class HeldCall:
    """A call's Permit and Journal, over the lease of its room."""

    def __init__(
        self,
        grant: Grant,
        lease: Lease,
        *,
        tell: Tell,
        renew: Callable[[], Awaitable[bool]],
        mint: Callable[[], str] = str,
    ) -> None:
        """`renew` renews every lease of the carrier, this one too, and returns when the answers are in. `mint` makes a
        token to join with."""
        self.grant = grant
        self.stop = Stop()
        self.abandon: Callable[[], object] = lambda: None
        """Cancels the task that carries this call; set when there is one."""
        self._lease = lease
        self._tell = tell
        self._renew = renew
        self._mint = mint
        self._loop = asyncio.get_running_loop()
        self._present: dict[str, int] = {}
        self._state = State.OWN

    @property
    def held(self) -> Held:
        """What a renewal tells the registry: enough to restore the room if Redis lost it."""
        return Held(
            room=self.grant.room,
            sid=self.grant.sid,
            created_unix_ms=self.grant.created_unix_ms,
            fence=self.grant.fence,
            callers=dict(self._present),
        )

    def may_speak(self) -> bool:
        """Whether the room is surely ours at this moment."""
        return self._lease.may_speak(self._loop.time())

    def may_join(self) -> bool:
        """Whether the room may be entered."""
        return self._lease.may_join(self._loop.time())

    def token(self) -> str:
        """A fresh token to join with."""
        return self._mint()

    def turn(self, said: Said) -> None:
        """A finished turn."""

    def quiet(self, is_quiet: bool) -> None:
        """Whether nobody speaks."""

    async def confirm(self) -> bool:
        """Renew now. True only when the registry answered, after being asked, that the room is ours."""
        await self._renew()
        return self._lease.is_confirmed and self.may_join()

    def connected(self) -> None:
        """The call is in the room."""
        self._lease.room_connected()

    def disconnected(self) -> None:
        """It is not, for the moment or for good."""
        self._lease.room_left_connected(now=self._loop.time())

    def event(self, name: str, **facts: int | float | str) -> None:
        """A step of the call, for the story."""
        self._tell(self.grant.room, name, facts)

    def callers(self, present: Mapping[str, int]) -> None:
        """Who is in the room now."""
        self._present = dict(present)

    def answered(self, answer: Renewal, *, sent_at: float) -> None:
        """Take in the registry's answer."""
        self._lease.answered(answer, sent_at=sent_at, now=self._loop.time())
        self._obey()

    def unanswered(self, *, sent_at: float) -> None:
        """Note that there was none."""
        self._lease.failed(sent_at=sent_at, now=self._loop.time())
        self._obey()

    def _obey(self) -> None:
        now = self._loop.time()
        state = self._lease.state(now)
        if state is not self._state and state is not State.LOST:  # that one is told with its reason, below
            log.info(
                "lease_changed", room=self.grant.room, fence=self.grant.fence, was=self._state.value, now=state.value
            )
            self._tell(self.grant.room, state.value, {"was": self._state.value})
            self._state = state
        leave = self._lease.must_leave(now)
        if leave is not None:
            if not self.stop.is_asked:
                self._tell(self.grant.room, "must_leave", {"reason": leave.value})
            self.stop.ask(ENDINGS[leave])
