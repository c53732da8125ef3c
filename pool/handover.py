"""Handing a call to another carrier while it goes on: what the present owner does next. Pure.

The registry picks who stands by, and passes the room in one script. A hand-over never costs a call: until the registry
has answered that the room was passed, whatever goes wrong leaves the call where it is, and another try may follow.

    SEEKING ──somebody ready──► SETTLING ──quiet, or out of patience──► PASSING ──passed──► PASSED
       ▲                            │                                      │
       └──────────── RESTING ◄──────┴── nobody, too slow, refused, Redis ──┘        any: the call ended ──► OVER
"""

import enum
from collections.abc import Mapping

POLL_S = 0.1
"""How often the owner asks whether the next one is ready."""

READY_LIMIT_S = 12.0
"""For the next one to open its voice session; the registry's own reservation lasts longer."""

QUIET_FOR_S = 0.2
"""How long it must have been quiet: a shorter pause is a breath."""

QUIET_LIMIT_S = 5.0
"""How long to wait for a moment in which nobody speaks. Then the call is passed in mid-sentence."""

BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Between tries for one call; the last one holds for all later. Short at first: in a rollout the next worker may have
started this very moment."""


class Stage(enum.Enum):
    """How far the hand-over of one call is."""

    SEEKING = "seeking"
    """Asking the registry for somebody, and then whether they are ready."""
    SETTLING = "settling"
    """Somebody is ready: the memory is written, and a quiet moment awaited."""
    PASSING = "passing"
    RESTING = "resting"
    """This try came to nothing; the next begins after a while."""
    PASSED = "passed"
    OVER = "over"


class HandOverEvent(enum.Enum):
    """What the owner learns."""

    NOBODY = "nobody"
    """The registry has nobody who could take the call, or the room is not ours any more."""
    PICKED = "picked"
    """Somebody was asked and is getting ready."""
    READY = "ready"
    TOO_SLOW = "too_slow"
    SETTLED = "settled"
    """Nobody speaks at this moment, or we have waited long enough for that."""
    NOT_NOW = "not_now"
    """The call itself is in no state to be passed: out of its room, or nobody is there."""
    PASSED = "passed"
    NOT_PASSED = "not_passed"
    """The registry says that nothing was passed: the next is gone, or refused after all."""
    UNREACHABLE = "unreachable"
    """Redis did not answer. After a pass it may have run: the next renewal tells."""
    RESTED = "rested"
    """The back-off is over."""
    ENDED = "ended"
    """The call ended by itself."""
    BUG = "bug"
    """The try broke off with an exception of ours: the next one begins from the start."""


_FAILED: Mapping[HandOverEvent, Stage] = {
    HandOverEvent.NOBODY: Stage.RESTING,
    HandOverEvent.UNREACHABLE: Stage.RESTING,
    HandOverEvent.ENDED: Stage.OVER,
    HandOverEvent.BUG: Stage.RESTING,
}

# A missing entry changes nothing.
STAGES: Mapping[Stage, Mapping[HandOverEvent, Stage]] = {
    Stage.SEEKING: {
        **_FAILED,
        HandOverEvent.PICKED: Stage.SEEKING,
        HandOverEvent.READY: Stage.SETTLING,
        HandOverEvent.TOO_SLOW: Stage.RESTING,
    },
    Stage.SETTLING: {**_FAILED, HandOverEvent.SETTLED: Stage.PASSING, HandOverEvent.NOT_NOW: Stage.RESTING},
    Stage.PASSING: {**_FAILED, HandOverEvent.PASSED: Stage.PASSED, HandOverEvent.NOT_PASSED: Stage.RESTING},
    Stage.RESTING: {HandOverEvent.RESTED: Stage.SEEKING, HandOverEvent.ENDED: Stage.OVER},
    Stage.PASSED: {},
    Stage.OVER: {},
}


class HandOver:
    """The hand-over of one call, over all its tries."""

    def __init__(self) -> None:
        self.stage = Stage.SEEKING
        self.failures = 0
        self.why = ""
        """What the last try failed for."""

    def advance(self, event: HandOverEvent) -> Stage:
        """Take in what happened, and return what to do now. What does not fit the stage changes nothing."""
        before = self.stage
        self.stage = STAGES[before].get(event, before)
        if self.stage is Stage.RESTING and before is not Stage.RESTING:
            self.failures += 1
            self.why = event.value
        return self.stage

    @property
    def backoff_s(self) -> float:
        """How long to leave the call alone after the failure before."""
        return BACKOFF_S[min(max(self.failures, 1), len(BACKOFF_S)) - 1]
