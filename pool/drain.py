"""How a carrier ends: take no more, let calls end by themselves, tell the rest to leave, stop.

Pure; time is an argument.

SERVING ──asked──► DRAINING ──empty, or out of time──► STOPPED
"""

import enum
import math

LEAVE_S = 5.0
"""What the calls that are still there after the grace get to leave cleanly and release their rooms."""

JOINING_LIMIT_S = 24.0
"""What is still on its way into a room then, as long as the SDK may take for that (25 s from when it began). Together
with `LEAVE_S` it stays within the 30 s that an orchestrator waits after the grace."""


HAND_OVER_S = 15.0
"""What handing calls over may take: the next owner gets ready within 10 s, and a quiet moment is waited for 5 s. With a
grace that is shorter than the wait before it, it begins so much before the grace ends."""


class Phase(enum.Enum):
    """How far a carrier is on its way out."""

    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


class Drain:
    """One carrier's way out; it starts once and never goes back."""

    def __init__(self, *, grace_s: float, hand_over_after_s: float = float("inf"), leave_s: float = LEAVE_S) -> None:
        self._grace_s = grace_s
        self._hand_over_after_s = hand_over_after_s
        self._leave_s = leave_s
        self._asked_at: float | None = None

    def ask(self, now: float) -> None:
        """Begin to drain. Asking again changes nothing, the deadlines least of all."""
        if self._asked_at is None:
            self._asked_at = now

    def phase(self, now: float, *, in_use: int) -> Phase:
        """The phase at this moment, for a carrier that holds `in_use` calls."""
        if self._asked_at is None:
            return Phase.SERVING
        return Phase.STOPPED if in_use == 0 or now >= self.stops_at else Phase.DRAINING

    @property
    def is_asked(self) -> bool:
        """Whether no more calls may be taken."""
        return self._asked_at is not None

    @property
    def hands_over_at(self) -> float:
        """From when on calls that have not ended are passed to other carriers, until the grace ends.

        In time before the grace ends, however long the wait was set. Infinite while nobody asked, and where calls are
        never handed over.
        """
        if self._asked_at is None or math.isinf(self._hand_over_after_s):
            return math.inf
        return self._asked_at + min(self._hand_over_after_s, max(0.0, self._grace_s - HAND_OVER_S))

    @property
    def grace_ends_at(self) -> float:
        """Until when calls may end by themselves; those still there then leave, and their rooms are for others.

        Infinite while nobody asked.
        """
        return float("inf") if self._asked_at is None else self._asked_at + self._grace_s

    @property
    def stops_at(self) -> float:
        """When the carrier stops whatever is left; infinite while nobody asked."""
        return self.grace_ends_at + self._leave_s
