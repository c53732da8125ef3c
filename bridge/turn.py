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


class Beat(enum.Enum):
    """What can happen to the floor."""

    CALLER_STARTED = "caller_started"
    CALLER_STOPPED = "caller_stopped"
    REPLY_STARTED = "reply_started"
    REPLY_ENDED = "reply_ended"
    REPLY_INTERRUPTED = "reply_interrupted"


FLOOR: Mapping[Floor, Mapping[Beat, Floor]] = {
    Floor.NOBODY: {
        Beat.CALLER_STARTED: Floor.CALLER,
        Beat.CALLER_STOPPED: Floor.NOBODY,
        Beat.REPLY_STARTED: Floor.AGENT,
        Beat.REPLY_ENDED: Floor.NOBODY,
        Beat.REPLY_INTERRUPTED: Floor.NOBODY,
    },
    Floor.CALLER: {
        Beat.CALLER_STARTED: Floor.CALLER,
        Beat.CALLER_STOPPED: Floor.NOBODY,
        Beat.REPLY_STARTED: Floor.AGENT,
        Beat.REPLY_ENDED: Floor.CALLER,
        Beat.REPLY_INTERRUPTED: Floor.CALLER,
    },
    Floor.AGENT: {
        Beat.CALLER_STARTED: Floor.CALLER,
        Beat.CALLER_STOPPED: Floor.AGENT,
        Beat.REPLY_ENDED: Floor.NOBODY,
        Beat.REPLY_INTERRUPTED: Floor.NOBODY,
        # REPLY_STARTED is absent: at most one reply is open at a time.
    },
}

FLUSHES = frozenset({Beat.CALLER_STARTED, Beat.REPLY_INTERRUPTED})
"""What makes unheard audio worthless: the caller cut in, or the voice says it stopped."""


def beat_of(event: VoiceEvent) -> Beat | None:
    """The beat that a voice event is, or None when it does not touch the floor."""
    match event:
        case CallerStarted():
            return Beat.CALLER_STARTED
        case CallerStopped():
            return Beat.CALLER_STOPPED
        case ReplyStarted():
            return Beat.REPLY_STARTED
        case ReplyDone(interrupted=interrupted):
            return Beat.REPLY_INTERRUPTED if interrupted else Beat.REPLY_ENDED
        case _:
            return None


class Turn:
    """Whose turn it is in one voice session."""

    def __init__(self, *, barge_in: bool = True) -> None:
        """`barge_in` is False when the vendor was told not to let callers interrupt: then only its word flushes."""
        self.floor = Floor.NOBODY
        self.surprises = 0
        self._barge_in = barge_in

    def advance(self, beat: Beat) -> bool:
        """Take one step, and return whether audio not yet heard must be flushed now."""
        after = FLOOR[self.floor].get(beat)
        if after is None:
            self.surprises += 1
            return False
        if beat is Beat.CALLER_STARTED and not self._barge_in:
            self.floor = self.floor if self.floor is Floor.AGENT else after
            return False
        self.floor = after
        return beat in FLUSHES
