"""One room that this carrier holds: its lease, what its call may do, and what the call tells."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from time import monotonic

import structlog

from bridge import Ending, Said, Stop
from pool.lease import STATES, Lease, Leave, State
from pool.registry import Grant, Held, Renewal

log = structlog.get_logger()

Tell = Callable[[str, str, Mapping[str, int | float | str]], None]
"""Room, event, facts: an entry for `roompool why`. Never blocks."""

ENDINGS: Mapping[Leave, Ending] = {
    Leave.PASSED: Ending.PASSED,
    Leave.LOST: Ending.LEASE_LOST,
    Leave.OVER: Ending.ROOM_OVER,
    Leave.HOLD_ENDED: Ending.LEASE_LOST,
}

# Leases are counted by `monotonic()`, the same whichever loop runs: uvloop's own clock counts whole milliseconds.
ENDED = frozenset(STATES.values())


@dataclass(frozen=True, slots=True)
class CarrierCallbacks:
    """What a carrier does for each of its calls. None of it blocks, but `renew`."""

    tell: Tell
    note: Callable[[str, int, Said], None]
    """Room, fence, turn: for the next owner's memory."""
    renew: Callable[[], Awaitable[bool]]
    """Renews every lease of the carrier, and returns when the answers are in."""
    token: Callable[[Grant], str]
    """A fresh join token for a grant."""
    turn_to_join: Callable[[], AbstractAsyncContextManager[None]]
    """Waited for before a call's first join."""


class HeldCall:
    """A call's Permit and Journal, over the lease of its room."""

    def __init__(
        self, grant: Grant, lease: Lease, carrier: CarrierCallbacks, *, speaks_first: bool, stop: Stop | None = None
    ) -> None:
        """`speaks_first`: the call opens with a sentence of the agent's. `stop`: an older one to go on with."""
        self.grant = grant
        self.stop = stop or Stop()
        self.over = asyncio.Event()
        """Set when the call has ended."""
        self.abandon: Callable[[], object] = lambda: None
        """Cancels the task that carries this call; set when there is one."""
        self._lease = lease
        self._carrier = carrier
        self._present: dict[str, int] = {}
        self._state = State.OWN
        self._is_in = False
        self._is_opened = not speaks_first
        """Whether the agent has begun to say what it opens with."""
        self._quiet_since_at: float | None = None
        self._quiet_changed = asyncio.Event()

    @property
    def key(self) -> tuple[str, int]:
        """Which call this is among those of its carrier: two rooms may be granted under one fence, in one millisecond,
        and a room again while its last call is still on its way out."""
        return self.grant.room, self.grant.fence

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
        return self._lease.may_speak(monotonic())

    def may_join(self) -> bool:
        """Whether the room may be entered."""
        return self._lease.may_join(monotonic())

    def turn_to_join(self) -> AbstractAsyncContextManager[None]:
        """In the order in which the rooms were claimed, a few at a time."""
        return self._carrier.turn_to_join()

    async def confirm(self) -> bool:
        """Renew now. True only when the registry answered, after being asked, and the room is ours by what it said."""
        is_answered = await self._carrier.renew()
        return is_answered and self._lease.is_confirmed and self.may_join()

    def connected(self) -> None:
        """The call is in the room."""
        self._is_in = True
        self._lease.room_connected()

    def disconnected(self) -> None:
        """It is not, for the moment or for good."""
        self._is_in = False
        self._lease.room_left_connected(now=monotonic())

    def event(self, name: str, **facts: int | float | str) -> None:
        """A step of the call, for the story."""
        self._is_opened = self._is_opened or name == "first_sound"
        self._carrier.tell(self.grant.room, name, facts)

    def callers(self, present: Mapping[str, int]) -> None:
        """Who is in the room now."""
        self._present = dict(present)

    def turn(self, said: Said) -> None:
        """Somebody finished saying something."""
        self._carrier.note(self.grant.room, self.grant.fence, said)

    def quiet(self, is_quiet: bool) -> None:
        """Whether nobody speaks now, and no answer is owed."""
        self._quiet_since_at = monotonic() if is_quiet else None
        self._quiet_changed.set()

    def token(self) -> str:
        """A fresh join token."""
        return self._carrier.token(self.grant)

    def can_be_passed_on(self) -> bool:
        """Whether this call may be given to another carrier now: surely ours, in its room, with somebody to talk to,
        and past its opening words.

        The next owner goes on in silence: given a call that has not greeted yet, nobody ever would. And it would not
        wait for a caller who vanished and may come back.
        """
        is_ours = self._lease.state(monotonic()) is State.OWN and self._lease.is_confirmed
        is_talk = self._is_in and self._is_opened and bool(self._present)
        return is_ours and is_talk and not self.stop.is_asked

    async def until_quiet(self, *, for_s: float, limit_s: float) -> bool:
        """Wait until it has been quiet for `for_s`. False: it was not within the limit."""
        try:
            async with asyncio.timeout(limit_s):
                while (left_s := self._quiet_in_s(for_s)) > 0:
                    self._quiet_changed.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(left_s):
                            await self._quiet_changed.wait()
        except TimeoutError:
            return False
        return True

    def passed(self) -> None:
        """The registry gave the room to the next owner: mute from this step on."""
        self._lease.pass_on()
        self._obey()

    def answered(self, answer: Renewal, *, sent_at: float) -> None:
        """Take in the registry's answer. Once the call has ended it means nothing: it may have crossed the release."""
        if self.over.is_set():
            return
        self._lease.answered(answer, sent_at=sent_at, now=monotonic())
        self._obey()
        if answer is Renewal.HANG_UP:
            self._leave(Ending.HUNG_UP, reason="hang_up")

    def unanswered(self, *, sent_at: float) -> None:
        """Note that there was none."""
        if self.over.is_set():
            return
        self._lease.failed(sent_at=sent_at, now=monotonic())
        self._obey()

    def _quiet_in_s(self, for_s: float) -> float:
        """How long it takes at least until it has been quiet for `for_s`; infinite while it is not."""
        if self._quiet_since_at is None:
            return math.inf
        return self._quiet_since_at + for_s - monotonic()

    def _obey(self) -> None:
        now = monotonic()
        state = self._lease.state(now)
        if state is not self._state and state not in ENDED:  # those are told with their reason, below
            log.info(
                "lease_changed", room=self.grant.room, fence=self.grant.fence, was=self._state.value, now=state.value
            )
            self._carrier.tell(self.grant.room, state.value, {"was": self._state.value})
            self._state = state
        leave = self._lease.must_leave(now)
        if leave is not None:
            self._leave(ENDINGS[leave], reason=leave.value)

    def _leave(self, ending: Ending, *, reason: str) -> None:
        """Have the call leave, and tell it once."""
        if not self.stop.is_asked:
            self._carrier.tell(self.grant.room, "must_leave", {"reason": reason})
        self.stop.ask(ending)
