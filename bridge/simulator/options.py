"""How a simulator behaves: what it is for its whole life, and what goes wrong on purpose.

`SimulatorOptions` are fixed when it starts. `Faults` can be changed while it runs; a connection takes those of the
moment it opens and keeps them, so that one test's faults do not leak into a session that is under way.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields

from bridge.simulator.texts import LINES

# fmt: off
LIVE_VOICES = (
    "alba", "anna", "charles", "estelle", "eve", "george", "giovanni", "iris", "jane",
    "jean", "juergen", "lola", "mary", "michael", "paul", "rafael", "reid", "vera",
)
# fmt: on
"""What the live service offered in September 2026, and lists in its refusal of any other."""

REFUSED_KEY = "refused"
"""A key that is always refused, so that a test needs no option for it."""


class Profile(enum.Enum):
    """Whose description we follow where the documents and the live service differ."""

    LIVE = "live"
    DOCS = "docs"


class Resume(enum.Enum):
    """What `session.resume` gets within the grace of a lost connection."""

    ACCEPT = "accept"
    REJECT = "reject"
    """What every field report says of the live service."""
    ACCEPT_ONLY_RESUME_TOKEN = "accept_only_resume_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """Behaviour that does not change while the simulator runs. Times are milliseconds of the caller's audio."""

    profile: Profile = Profile.LIVE
    refused_keys: frozenset[str] = frozenset()
    """Refused beside `REFUSED_KEY` and the empty key."""
    voices: tuple[str, ...] = LIVE_VOICES
    resume: Resume | None = None
    """None: what the profile says, `reject` for live and `accept` for docs."""

    onset_ms: int = 600
    """From the first voiced sample to `input.speech.started`, when the agent is silent."""
    barge_in_ms: int = 1100
    """From the first voiced sample to the interruption, when the agent is heard. The live service: 1100 to 2200."""
    endpoint_ms: int | None = None
    """Silence that ends a turn. None: by the session's transcription mode, or its `min_silence`."""
    voiced_dbfs: float = -45.0
    """A window of 10 ms louder than this is speech. Opus' comfort noise lies below, a quiet microphone above."""

    lead_silence_ms: int | None = None
    """Silent audio before a reply is heard. None: 250 before the greeting, 1000 before any other."""
    greeting_after_ms: int = 100
    """From `session.ready` to the greeting's `reply.started`. The live service: 30 to 220."""
    ready_after_ms: int = 30
    """From the first `session.update` to `session.updated`. The live service: 30 to 500; it was 310 to 1120 with
    the connection's own time."""
    done_lag_ms: int = 100
    """From a reply's last frame to its `reply.done`. The live service: 10 to 315."""

    resume_grace_s: float = 30.0
    """How long a lost session can be resumed, and counts against the limit of concurrent ones."""
    kept_reports: int = 1000
    """How many ended sessions are remembered for `sessions()`; the oldest is forgotten first."""

    @property
    def is_docs(self) -> bool:
        """Whether the documents are followed where the live service differs."""
        return self.profile is Profile.DOCS

    @property
    def resumes(self) -> Resume:
        """What `session.resume` gets."""
        return self.resume or (Resume.ACCEPT if self.is_docs else Resume.REJECT)

    def accepts(self, key: str) -> bool:
        """Whether a key opens a session: any does, unless it is empty or refused on purpose."""
        return bool(key) and key != REFUSED_KEY and key not in self.refused_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong. `..._after_ms` count from `session.ready`; None and False mean that all is well."""

    sessions: int | None = None
    """How many connections get these faults before all is well again; None for every one. Not for the next two."""
    at_capacity_n: int = 0
    """So many connections are refused with `at_capacity`, those after them are not."""
    concurrency_limit: int | None = None
    """Sessions at a time, those in the grace of a resume included; one more gets `concurrency_exceeded`."""

    drop_after_ms: int | None = None
    """The connection is cut, with no close frame."""
    close_1011_after_ms: int | None = None
    close_no_ended_after_ms: int | None = None
    """Closed with 1000, but without `session.ended`."""
    slow_ready_ms: int = 0
    no_ready: bool = False
    agent_timeout_ms: int | None = None
    """So long after the first update: `agent_timeout`, and closed. The live service waits 10 s."""
    refuse_voice: bool = False
    """Whatever voice is asked for is not offered, the others are."""
    hang_up_after_turns: int | None = None
    """After so many of the caller's turns were answered, the server ends the session."""
    session_ended_missing: bool = False
    """`session.end` is not answered and the socket stays open."""

    unknown_event: bool = False
    """An event of a type nobody knows, in every reply and once after ready."""
    typeless_error: bool = False
    """An error without a `type`, once after ready."""
    garbage_frames: bool = False
    """Once after ready: not JSON, not an object, a binary message, audio that is not base64, half a sample."""
    late_agent_transcript: bool = False
    """`transcript.agent` comes after `reply.done`."""
    burst_frames: bool = False
    """All frames of a reply at once instead of at real time."""
    silent_reply: bool = False
    """Replies are 2.4 s of silence, without a transcript, and complete."""
    deaf_session: bool = False
    """The caller is never heard."""
    long_reply: bool = False
    """Every turn is answered by the longest line, about 15 s."""
    script: tuple[str, ...] = ()
    """Names of lines to answer the first turns with; after them the usual answers."""

    def __post_init__(self) -> None:
        """Refuse a script with a line that there is not.

        Raises:
            ValueError: whoever wrote the script is at fault.
        """
        unknown = sorted(set(self.script) - LINES.keys())
        if unknown:
            raise ValueError(f"no line is called {unknown[0]!r}; there are {', '.join(LINES)}")

    @classmethod
    def parse(cls, asked: Mapping[str, object]) -> "Faults":
        """Read faults from JSON.

        Raises:
            ValueError: a name is unknown, or its value is of the wrong type. Whoever asked is at fault.
        """
        known = {entry.name: getattr(cls(), entry.name) for entry in fields(cls)}
        values: dict[str, object] = {}
        for name, value in asked.items():
            if name not in known:
                raise ValueError(f"no fault is called {name!r}; there are {', '.join(known)}")
            values[name] = _checked(name, value, known[name])
        return cls(**values)  # type: ignore[arg-type] # checked one by one above


def _checked(name: str, value: object, default: object) -> object:
    """A fault's value, if it is of the kind that its default shows."""
    match default:
        case bool():
            fits = isinstance(value, bool)
        case tuple():
            fits = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
            value = tuple(value) if isinstance(value, list) else value
        case int():
            fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        case _:
            fits = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
    if not fits:
        raise ValueError(f"fault {name!r} has a value of the wrong type")
    return value
