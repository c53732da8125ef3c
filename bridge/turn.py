"""The floor: who is speaking, as a table. Everything that changes it is in this file.

The vendor orders its events loosely: a reply may open before the caller's turn is reported closed, an interruption may
be told before or after the speech that caused it. Each order that is known to happen is an entry in FLOOR; one that is
not is absent, and is counted as a surprise that changes nothing.
"""

import enum
from collections.abc import Mapping

from bridge.voice.events import CallerStarted, CallerStopped, ReplyDone, ReplyStarted, VoiceEvent


class Floor(enum.Enum):
    """Who is speaking. A call starts and ends with NOBODY."""

    NOBODY = "nobody"
    CALLER = "caller"
    AGENT = "agent"


class FloorEvent(enum.Enum):
    """What can happen to the floor."""

    CALLER_STARTED = "caller_started"
    CALLER_STOPPED = "caller_stopped"
    REPLY_STARTED = "reply_started"
    REPLY_ENDED = "reply_ended"
    REPLY_INTERRUPTED = "reply_interrupted"


FLOOR: Mapping[Floor, Mapping[FloorEvent, Floor]] = {
    Floor.NOBODY: {
        FloorEvent.CALLER_STARTED: Floor.CALLER,
        FloorEvent.CALLER_STOPPED: Floor.NOBODY,
        FloorEvent.REPLY_STARTED: Floor.AGENT,
        FloorEvent.REPLY_ENDED: Floor.NOBODY,
        FloorEvent.REPLY_INTERRUPTED: Floor.NOBODY,
    },
    Floor.CALLER: {
        FloorEvent.CALLER_STARTED: Floor.CALLER,
        FloorEvent.CALLER_STOPPED: Floor.NOBODY,
        FloorEvent.REPLY_STARTED: Floor.AGENT,
        FloorEvent.REPLY_ENDED: Floor.CALLER,
        FloorEvent.REPLY_INTERRUPTED: Floor.CALLER,
    },
    Floor.AGENT: {
        FloorEvent.CALLER_STARTED: Floor.CALLER,
        FloorEvent.CALLER_STOPPED: Floor.AGENT,
        FloorEvent.REPLY_ENDED: Floor.NOBODY,
        FloorEvent.REPLY_INTERRUPTED: Floor.NOBODY,
        # REPLY_STARTED is absent: at most one reply is open at a time.
    },
}

FLUSHES = frozenset({FloorEvent.CALLER_STARTED, FloorEvent.REPLY_INTERRUPTED})
"""What makes unheard audio worthless: the caller cut in, or the voice says it stopped."""


def floor_event_of(event: VoiceEvent) -> FloorEvent | None:
    """What a voice event does to the floor, or None when it does not touch the floor."""
    match event:
        case CallerStarted():
            return FloorEvent.CALLER_STARTED
        case CallerStopped():
            return FloorEvent.CALLER_STOPPED
        case ReplyStarted():
            return FloorEvent.REPLY_STARTED
        case ReplyDone(interrupted=interrupted):
            return FloorEvent.REPLY_INTERRUPTED if interrupted else FloorEvent.REPLY_ENDED
        case _:
            return None


class Turn:
    """Whose turn it is in one voice session."""

    def __init__(self, *, barge_in: bool = True) -> None:
        """`barge_in` is False when the vendor was told not to let callers interrupt: then only its word flushes."""
        self.floor = Floor.NOBODY
        self.surprises = 0
        self._barge_in = barge_in

    def advance(self, event: FloorEvent) -> bool:
        """Take one step, and return whether audio not yet heard must be flushed now."""
        after = FLOOR[self.floor].get(event)
        if after is None:
            self.surprises += 1
            return False
        if event is FloorEvent.CALLER_STARTED and not self._barge_in:
            self.floor = self.floor if self.floor is Floor.AGENT else after
            return False
        self.floor = after
        return event in FLUSHES
