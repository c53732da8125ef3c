"""What a voice says to us, and what we say to it, in no vendor's words.

`VoiceEvent` is all that the rest of the bridge sees of a voice; a dialect translates.
"""

from dataclasses import dataclass


class BadMessage(ValueError):
    """The voice peer sent something that is not a message of its protocol. The peer is at fault."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The voice session is open; audio may flow. `voice` is the voice it resolved, empty when it did not say."""

    voice_session: str
    voice: str = ""


@dataclass(frozen=True, slots=True)
class CallerStarted:
    """The caller began a turn; while the agent speaks this is a barge-in."""


@dataclass(frozen=True, slots=True)
class CallerStopped:
    """The caller's turn was taken as finished."""


@dataclass(frozen=True, slots=True)
class CallerSaid:
    """The final words of a caller's turn. May be empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The agent's turn opened; nothing may be audible for a second yet."""

    reply: str


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """A piece of the agent's speech: mono PCM16 at 24 kHz, any length. An empty `reply` means the current one."""

    reply: str
    pcm: bytes


@dataclass(frozen=True, slots=True)
class AgentSaid:
    """The words of a reply; cut where the caller cut in when `interrupted`. May come before or after ReplyDone."""

    reply: str
    text: str
    interrupted: bool


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """The agent's turn is over."""

    reply: str
    interrupted: bool


@dataclass(frozen=True, slots=True)
class VoiceFault:
    """The voice peer reports an error. `code` is lower case; `valid_voices` is filled for an unknown voice."""

    code: str
    param: str = ""
    valid_voices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VoiceEnded:
    """The voice session ended cleanly; the link closes now."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message the dialect does not know: kept, counted, never fatal."""

    kind: str


VoiceEvent = (
    Ready
    | CallerStarted
    | CallerStopped
    | CallerSaid
    | ReplyStarted
    | ReplyAudio
    | AgentSaid
    | ReplyDone
    | VoiceFault
    | VoiceEnded
    | Unknown
)
