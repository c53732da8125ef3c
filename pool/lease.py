"""The clockwork of owning one room: what a carrier may do between two answers of the registry.

Decides without I/O. Time is always an argument, monotonic seconds of this process; Redis keeps its own clock, and
because `until` is counted from before a request was sent, ours ends first. What can make this wrong is a process
that did not run (stopped, swapped out, a stuck loop), so the gaps in our own doings are watched as well.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from pool.registry import Renewal

ATTEMPT_LIMIT_S = 1.0
"""The hard limit of one renewal (pool/registry/connect.py)."""


class State(enum.Enum):
    """How sure a carrier is that the room is its own."""

    OWN = "own"
    UNSURE = "unsure"
    """The lease ran out and nobody told us anything: we may have slept, and another carrier may be in the room."""

    HOLD = "hold"
    """Redis is unreachable, to us or to all; we have been in the room all along, so nobody can have replaced us."""

    PASSED = "passed"
    """We handed the room to the next carrier, which is on its way in: mute, and there until it puts us out. Final."""

    LOST = "lost"
    """The registry said so. Final."""


class Leave(enum.StrEnum):
    """Why a carrier's call must end now."""

    PASSED = "passed"
    """Without a word, and not before the next owner's join puts us out, so that the room is never without an agent; at
    most 2 s, which the call itself counts (bridge, `Ending.PASSED`)."""
    LOST = "lost"
    OVER = "over"
    HOLD_ENDED = "hold_ended"


@dataclass(frozen=True, slots=True)
class Rights:
    """What a state allows: to play audio into the room, and to enter it (which evicts whoever is there as us)."""

    speak: bool
    join: bool


RIGHTS: Mapping[State, Rights] = {
    State.OWN: Rights(speak=True, join=True),
    State.UNSURE: Rights(speak=False, join=False),
    State.HOLD: Rights(speak=True, join=False),
    State.PASSED: Rights(speak=False, join=False),
    State.LOST: Rights(speak=False, join=False),
}

STATES: Mapping[Leave, State] = {
    Leave.PASSED: State.PASSED,
    Leave.LOST: State.LOST,
    Leave.OVER: State.LOST,
}
"""What the final answers of the registry lead to."""


class Lease:
    """One grant of one room, from the claim to the end. Never granted again: a later claim makes another lease."""

    def __init__(
        self,
        fence: int,
        *,
        sent_at: float,
        ttl_s: float = 3.0,
        margin_s: float = 0.3,
        hold_s: float = 120.0,
        tick_s: float = 0.9,
    ) -> None:
        """Start from a claim that was granted.

        Args:
            fence: The grant's number.
            sent_at: Taken before the claim was sent.
            ttl_s: How long the registry keeps the room for us after each renewal.
            margin_s: How much earlier than the registry we stop; also the lateness we take for ordinary.
            hold_s: How long to stay without any answer, counted from the last renewal that was answered.
            tick_s: The longest ordinary pause between the end of one renewal and the start of the next.
        """
        self.fence = fence
        # The lease is certainly ours before this moment.
        self.until = sent_at + ttl_s - margin_s
        self._ttl_s = ttl_s
        self._margin_s = margin_s
        self._hold_s = hold_s
        # A renewal starts within a tick and ends within its limit: a longer silence says that we did not run.
        self._awake_s = tick_s + ATTEMPT_LIMIT_S + margin_s
        # When the newest request that was answered MINE was sent.
        self._renewed_at = sent_at
        # When the last attempt ended, however it did.
        self._tried_at = sent_at
        # When the last attempt since that renewal failed; None: none did.
        self._failed_at: float | None = None
        # The process did not run for a while: only an answer can tell what happened meanwhile.
        self._slept = False
        self._connected = False
        # When the room last left CONNECTED and no renewal sent since has been answered MINE; None: no such doubt.
        self._broken_at: float | None = None
        self._end: Leave | None = None

    def answered(self, answer: Renewal, *, sent_at: float, now: float) -> None:
        """Take in the registry's answer to a renewal sent at `sent_at`. A late one never moves `until` back."""
        self._watch_gap(sent_at)
        self._tried_at = max(self._tried_at, now)
        match answer:
            case Renewal.MINE | Renewal.HANG_UP:  # a person's wish to end the call; the room is ours until it did
                self._renew(sent_at, now)
            case Renewal.PASSED:
                self._end = self._end or Leave.PASSED
            case Renewal.LOST:
                self._end = self._end or Leave.LOST
            case Renewal.OVER:
                self._end = self._end or Leave.OVER
            case _:
                assert_never(answer)

    def pass_on(self) -> None:
        """Take in that the registry gave the room to the next owner because we said so: what a renewal would answer."""
        self._end = self._end or Leave.PASSED

    def failed(self, *, sent_at: float, now: float, expected_s: float = ATTEMPT_LIMIT_S) -> None:
        """Note that a renewal got no answer.

        Args:
            expected_s: The attempt's own limit. One that took longer by more than the margin says that this process
                did not run, not that Redis was unreachable, and allows no HOLD.
        """
        self._watch_gap(sent_at)
        self._tried_at = max(self._tried_at, now)
        if now - sent_at > expected_s + self._margin_s:
            self._slept = self._slept or now >= self.until
        elif sent_at >= self._renewed_at:
            self._failed_at = now

    def room_connected(self) -> None:
        """The room's connection stands, for the first time or again."""
        self._connected = True

    def room_left_connected(self, *, now: float) -> None:
        """The room is reconnecting or gone: only a renewal sent after this can tell that it is still ours."""
        self._connected = False
        self._broken_at = now

    @property
    def is_confirmed(self) -> bool:
        """Whether no connection was lost, or a renewal sent since then was answered MINE."""
        return self._broken_at is None

    def state(self, now: float) -> State:
        """What we may believe at this moment."""
        if self._end is not None:
            return STATES[self._end]
        if now < self.until:
            return State.OWN
        return State.HOLD if self._may_hold(now) else State.UNSURE

    def may_speak(self, now: float) -> bool:
        """Whether audio may go into the room; asked for each frame."""
        return RIGHTS[self.state(now)].speak

    def may_join(self, now: float) -> bool:
        """Whether the room may be entered, or entered again."""
        return RIGHTS[self.state(now)].join

    def must_leave(self, now: float) -> Leave | None:
        """Why to end the call at once, or None. Being unsure for a while is no reason: silence is safe."""
        if self._end is not None:
            return self._end
        return Leave.HOLD_ENDED if now >= max(self.hold_until, self.until) else None

    @property
    def hold_until(self) -> float:
        """When to leave if no renewal is answered until then."""
        return self._renewed_at + self._hold_s

    def _renew(self, sent_at: float, now: float) -> None:
        if sent_at < self._renewed_at:
            return
        self._renewed_at = sent_at
        self.until = max(self.until, sent_at + self._ttl_s - self._margin_s)
        self._failed_at = None
        if self._broken_at is not None and sent_at >= self._broken_at:
            self._broken_at = None
        # Read so late that it is worth nothing, it says that we slept, not that the room is ours.
        self._slept = now >= self.until

    def _may_hold(self, now: float) -> bool:
        if self._failed_at is None or self._slept or now >= self.hold_until:
            return False
        is_awake = now - self._failed_at <= self._awake_s
        return is_awake and self._connected and self._broken_at is None

    def _watch_gap(self, sent_at: float) -> None:
        # Past `until` only: whatever we slept through before that, the room was ours.
        if sent_at - self._tried_at > self._awake_s and sent_at >= self.until:
            self._slept = True
