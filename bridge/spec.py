"""The values that go into a call and come out of it, and what a call is handed: `Permit`, `Journal`, `Cue`, `Stop`.

No sockets, no SDK: the pool builds a `SessionSpec` and reads an `Outcome` without loading the native library.
"""

import asyncio
import enum
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, assert_never

RATE_HZ = 24_000
"""Sample rate of all audio inside roompool; LiveKit resamples natively on both sides."""

BYTES_PER_MS = RATE_HZ * 2 // 1000
"""Mono int16: 48 bytes are a millisecond."""


@dataclass(frozen=True, slots=True)
class Said:
    """One finished turn: what was said, and whether it was said to its end."""

    who: Literal["caller", "agent"]
    text: str
    cut_ms: int | None = None
    """The caller cut it off after so many milliseconds of it were heard; None: it was heard to its end."""


class Opening(enum.Enum):
    """How the agent begins."""

    GREET = "greet"
    """With the greeting: nobody was here before."""
    RETURN = "return"
    """A former owner was lost: the sentence of returning instead of the greeting. Without a memory as `GREET`."""
    GO_ON = "go_on"
    """Without a word: the caller is to notice nothing."""


@dataclass(frozen=True, slots=True)
class VoiceSpec:
    """How the agent speaks and listens, in no vendor's words."""

    prompt: str
    greeting: str = ""
    """Spoken verbatim at the start; empty: the agent listens first."""
    return_sentence: str = ""
    """Spoken verbatim in the greeting's place after a former owner was lost; empty: the agent listens first."""
    voices: tuple[str, ...] = ("alba",)
    """In order of preference. A vendor withdraws voices, so the next one is tried when the first is unknown."""
    turn_detection: Mapping[str, object] | None = None
    """None leaves the vendor's adaptive mode on; any object, even one that states the defaults, switches it off."""
    keyterms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """Where the voice peer is, and how long we wait for it."""

    dialect: str
    url: str
    key: str = field(repr=False)
    dial_s: float = 10.0
    ready_s: float = 15.0
    ping_s: float = 5.0
    """How often the peer is pinged, and how long it may take to answer: a half-open link is noticed within ten seconds,
    which is as long as a caller's words are kept."""
    farewell_s: float = 5.0
    """How long the peer's acknowledgement of our end is awaited; without it the vendor bills on for 30 s."""


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """One call, complete: everything `carry` needs to know and nothing it could look up."""

    room: str
    url: str
    identity: str
    voice: VoiceSpec
    link: LinkSpec
    sid: str | None = None
    """The life of the room this call is for; in another one it leaves at once. None: any."""
    opening: Opening = Opening.GREET
    memory: tuple[Said, ...] = field(default=(), repr=False)
    """What former owners of this call remembered of it, oldest first."""
    is_awaited: bool = True
    """A caller is known to be there, so the voice is dialled while joining. False: it is dialled when one comes."""
    track_name: str = "agent-voice"
    nobody_s: float = 3.0
    """How long to wait for a first caller after joining."""
    linger_s: float = 20.0
    """How long to wait for a caller who vanished without saying good-bye (tab killed, full reconnect)."""
    max_call_s: float = 3600.0
    out_of_room_s: float = 5.0
    """How long LiveKit may be out of reach before the room is given to somebody who reaches it."""
    queue_ms: int = 100
    """LiveKit's own queue buffers twice this much ahead (measured), so 100 means at most 200 ms."""
    publish_after_ms: int = 150
    """The track is published no sooner than so long after its caller joined (`publish_moment.py`); 0: at once."""
    narrow_events: bool = True
    """Whether the SDK tells this call's room of itself alone (`sdk_events.py`); False: of every call of the process."""
    max_bitrate: int = 48_000
    """Bits per second. At 48 000 and above the encoder's idle cost is a third of the default's (measured)."""

    @property
    def opening_words(self) -> str:
        """What the agent says first, word for word; empty: it listens first."""
        match self.opening:
            case Opening.GO_ON:
                return ""
            case Opening.RETURN if self.memory:
                return self.voice.return_sentence
            case Opening.RETURN | Opening.GREET:
                return self.voice.greeting
            case _:
                assert_never(self.opening)


class Ending(enum.Enum):
    """Why a call ended. The pool decides by it what becomes of the room."""

    CALLER_LEFT = "caller_left"
    NOBODY_THERE = "nobody_there"
    AGENT_HUNG_UP = "agent_hung_up"
    LIMIT_REACHED = "limit_reached"
    REMOVED = "removed"
    ROOM_OVER = "room_over"
    WRONG_LIFE = "wrong_life"
    STOPPED = "stopped"
    HUNG_UP = "hung_up"
    """A person asked for it: as if the agent had hung up."""
    PASSED = "passed"
    """Handed to the next owner."""
    NOT_NEEDED = "not_needed"
    """Stood by, and never got the room."""
    LEASE_LOST = "lease_lost"
    IDENTITY_TAKEN = "identity_taken"
    """Somebody else uses our identity, and puts us out again and again."""
    ROOM_LOST = "room_lost"
    ROOM_REFUSED = "room_refused"
    ROOM_UNREACHABLE = "room_unreachable"
    VOICE_LOST = "voice_lost"
    VOICE_REFUSED = "voice_refused"
    VOICE_MISFIT = "voice_misfit"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended, and what is worth one log line about it. All times in milliseconds."""

    ending: Ending
    code: str = ""
    """A short reason of ours behind the ending, such as the kind of refusal."""
    served: Mapping[str, int] = field(default_factory=dict)
    """Callers seen in the room: participant sid -> joined, Unix ms as LiveKit says it."""
    joined_ms: int | None = None
    voice_ready_ms: int | None = None
    """From the start of `carry`, as are all the times here; after standing by the others count from the cue."""
    first_sound_ms: int | None = None
    call_ms: int = 0
    replies: int = 0
    barge_ins: int = 0
    voice_sessions: int = 0
    heard_ms: int = 0
    """Of callers' microphones; 0: they were muted, not published, or not let through."""
    dropped_in_ms: int = 0
    dropped_out_ms: int = 0
    frames_muted: int = 0
    """Frames not spoken because we were not sure that the room is ours."""


class Permit(Protocol):
    """What the owner of the room lets a call do at this moment."""

    def may_speak(self) -> bool:
        """A comparison, cheap enough to ask for every frame."""

    def may_join(self) -> bool:
        """Asked before every join: whoever is not sure that the room is its own does not join."""

    def turn_to_join(self) -> AbstractAsyncContextManager[None]:
        """Waited for before the first join, and held until the agent is in, or for a second: joins in a crowd make each
        other late."""

    def token(self) -> str:
        """A fresh token to join with. Asked for before every join: tokens live for a minute and a half."""

    async def confirm(self) -> bool:
        """Ask whoever grants the room, now. False also when there is no answer."""

    def connected(self) -> None:
        """The call's connection to the room stands, for the first time or again."""

    def disconnected(self) -> None:
        """It is broken: from now on somebody else may be in the room, and only an answer can tell."""


class Journal(Protocol):
    """Where a call tells its story. Never blocks, never raises: it is called from the audio path."""

    def event(self, name: str, **facts: int | float | str) -> None:
        """One step of the call; facts hold no words anybody said, no identities, no secrets."""

    def callers(self, present: Mapping[str, int]) -> None:
        """Who is in the room now: participant sid -> joined, Unix ms."""

    def turn(self, said: Said) -> None:
        """A finished turn, for whoever carries this call on. The only words that a journal is told."""

    def quiet(self, is_quiet: bool) -> None:
        """Whether nobody speaks now and nothing is left to play: the moment to pass the call on. Told on change."""


class Cue(Protocol):
    """What somebody who stands by for a call waits for."""

    def ready(self) -> None:
        """The voice session stands: from now on the room can be taken in an instant."""

    async def wait(self) -> Sequence[Said] | None:
        """Wait for the room, and return the turns since the memory of the spec; None: it is not needed any more."""


class Stop:
    """How the owner ends a call from outside: the first reason counts, and asking never blocks.

    `PASSED` is one of the reasons: the call falls silent in the step in which it hears of it, and stays in the room
    until its successor puts it out.
    """

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._ending = Ending.STOPPED

    def ask(self, ending: Ending) -> None:
        """Ask the call to leave with this ending. A second ask changes nothing."""
        if not self._asked.is_set():
            self._ending = ending
            self._asked.set()

    @property
    def is_asked(self) -> bool:
        """Whether somebody asked."""
        return self._asked.is_set()

    @property
    def ending(self) -> Ending:
        """What was asked for, once something was."""
        return self._ending

    async def wait(self) -> Ending:
        """Wait until somebody asks, and return the ending."""
        await self._asked.wait()
        return self._ending
