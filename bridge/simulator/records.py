"""What the simulator remembers of a session for whoever tests a client: counts, how it ended, broken rules."""

import enum
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bridge.simulator.sound import BYTES_PER_MS


class Ending(enum.Enum):
    """How a connection ended."""

    CLIENT_ENDED = "client_ended"
    """By `session.end`: the only way for a client to stop paying at once."""
    HUNG_UP = "hung_up"
    """The agent ended it, by `session.ended`."""
    REFUSED = "refused"
    FAULT = "fault"
    """Cut or closed on purpose."""
    LOST = "lost"
    """The client was gone without `session.end`."""
    STOPPED = "stopped"
    """The simulator itself stopped."""


class Violation(enum.Enum):
    """A rule that a client broke."""

    FIRST_MESSAGE = "first_message_is_neither_update_nor_resume"
    AUDIO_BEFORE_READY = "audio_before_ready"
    AUDIO_TOO_FAST = "audio_faster_than_real_time"
    IMMUTABLE = "update_of_an_immutable_field"
    RESULT_NOT_A_STRING = "tool_result_is_not_a_string"
    SECOND_END = "second_session_end"
    NOT_A_MESSAGE = "not_a_message_of_the_protocol"


KEPT_REPLIES = 100
"""Of so many replies of a session it is remembered when they were said; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplySaid:
    """When a reply was said. Fractions of a millisecond count: what a client adds is not much more."""

    began_unix_ms: float
    """When its first frame was due; silent or not."""
    cut_unix_ms: float | None = None
    """When it was cut, by the caller or by the client; None when it was not."""
    frames_sent: int = 0
    """How much of it had been sent by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """One connection, as JSON at the control port. Times are milliseconds."""

    session_id: str
    opened_unix_ms: int
    is_ready: bool
    ending: str | None
    """How it ended, None while it is open: client_ended, hung_up, refused, fault, lost or stopped."""
    ended_by_session_end: bool
    error: str | None
    """The code of the error that refused it."""
    resumed: bool
    turns: int
    """Of the caller."""
    replies: int
    interruptions: int
    frames_sent: int
    """Of `reply.audio`, 10 ms each."""
    said: Sequence[ReplySaid]
    """The last replies of which audio was sent, oldest first."""
    audio_received_ms: int
    voiced_received: int
    """Stretches of speech that were taken up as a turn or an interruption."""
    client_messages: Mapping[str, int]
    violations: Mapping[str, int]
    config: Mapping[str, object] | None
    """The configuration as it was last echoed."""


@dataclass(slots=True)
class SessionRecord:
    """The counts of a session that is under way."""

    session_id: str
    opened_unix_ms: int
    is_ready: bool = False
    ending: Ending | None = None
    error: str | None = None
    resumed: bool = False
    turns: int = 0
    replies: int = 0
    interruptions: int = 0
    frames_sent: int = 0
    said: deque[ReplySaid] = field(default_factory=lambda: deque(maxlen=KEPT_REPLIES))
    audio_bytes: int = 0
    stretches: int = 0
    client_messages: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    config: Mapping[str, object] | None = None

    def broke(self, rule: Violation) -> None:
        """Count a broken rule."""
        self.violations[rule.value] += 1

    def reply_began(self, *, unix_s: float) -> None:
        """Its first audio is sent."""
        self.said.append(ReplySaid(began_unix_ms=unix_s * 1000))

    def reply_was_cut(self, *, unix_s: float, frames_sent: int) -> None:
        """That one is over before its time; nothing is noted of one that sent no audio."""
        if frames_sent:
            self.said[-1] = replace(self.said[-1], cut_unix_ms=unix_s * 1000, frames_sent=frames_sent)

    def report(self) -> SessionReport:
        """The record as it is now; later changes do not reach it."""
        return SessionReport(
            session_id=self.session_id,
            opened_unix_ms=self.opened_unix_ms,
            is_ready=self.is_ready,
            ending=self.ending.value if self.ending else None,
            ended_by_session_end=self.ending is Ending.CLIENT_ENDED,
            error=self.error,
            resumed=self.resumed,
            turns=self.turns,
            replies=self.replies,
            interruptions=self.interruptions,
            frames_sent=self.frames_sent,
            said=tuple(self.said),
            audio_received_ms=self.audio_bytes // BYTES_PER_MS,
            voiced_received=self.stretches,
            client_messages=dict(self.client_messages),
            violations=dict(self.violations),
            config=self.config,
        )
