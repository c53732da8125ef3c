"""What the parts of roompool tell each other: notes about rooms, names of jobs, who counts as a caller.

Standard library only, so that the receiver can import it without the pool, and the pool without the receiver.
A `Note` is a fact about one room, in the words of room state; it travels into Redis by `PoolClient.submit`.
A job is only a wake-up: its payload names a room for the log and carries a version, nothing depends on its content.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol, assert_never

JOB_PARTICIPANT_JOINED = "participant_joined"
JOB_ROOM_FINISHED = "room_finished"

JOB_VERSION = 1
"""Raised when an older worker could misread the payload; a worker sets a newer one aside, loudly."""

DEFAULT_PREFIX = "roompool:"
"""What every Redis key of room state begins with."""

MAX_ROOM_NAME_BYTES = 4096
"""LiveKit's own limit is 256 by default and a setting; a name past ours is refused at the receiver."""

CALLER_KINDS = frozenset({"STANDARD", "SIP", "CONNECTOR"})
"""Participant kinds that are people. An unknown kind is never a caller: a new one is more likely a machine."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A caller is in the room. `sid` names one life of the room, `participant_sid` one stay of the caller."""

    room: str
    sid: str
    created_unix_ms: int
    participant_sid: str
    joined_unix_ms: int


@dataclass(frozen=True, slots=True)
class Opened:
    """LiveKit opened the room, and somebody is about to come in. `sid` names this life of it."""

    room: str
    sid: str
    created_unix_ms: int


@dataclass(frozen=True, slots=True)
class Left:
    """A participant is gone from the room, caller or not: room state knows which ones it had noted."""

    room: str
    sid: str
    participant_sid: str


@dataclass(frozen=True, slots=True)
class Finished:
    """This life of the room is over and never comes back."""

    room: str
    sid: str


Note = Arrived | Opened | Left | Finished


@dataclass(frozen=True, slots=True)
class Heard:
    """That LiveKit told of somebody who joined, and what became of it: a line of the room's story, of no effect."""

    room: str
    delivery: str
    """LiveKit's id of it; the same again when it is repeated."""
    participant: str
    """Their sid, which says nothing of who they are."""
    reason: str = ""
    """Why nothing follows from it; empty: it was accepted."""
    kind: str = ""
    """What they are, when that is the reason."""


class Someone(Protocol):
    """A participant, whoever told of them: a webhook, or LiveKit's list."""

    @property
    def identity(self) -> str: ...
    @property
    def kind(self) -> str:
        """LiveKit's name for it; empty stands for an absent field, which is STANDARD."""

    @property
    def hidden(self) -> bool: ...
    @property
    def recorder(self) -> bool: ...
    @property
    def agent(self) -> bool: ...
    @property
    def can_publish(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class RoomRules:
    """Which rooms get an agent, and who in them is somebody we serve."""

    globs: tuple[str, ...]
    """Shell patterns, case-sensitive."""
    agent_identity: str
    """Ours, in every room."""

    def is_wanted(self, room: str) -> bool:
        """Whether a room gets an agent. Its name is never read as a pattern."""
        return any(fnmatchcase(room, glob) for glob in self.globs)

    def is_caller(self, someone: Someone) -> bool:
        """Whether a participant is a person, visible, who may speak, and not ourselves.

        A participant without the agent kind may still be one by permission, so those flags count too
        (seen on a real server: hidden ones and recorders are listed as STANDARD).
        """
        is_person = (someone.kind or "STANDARD") in CALLER_KINDS
        is_machine = someone.hidden or someone.recorder or someone.agent
        return is_person and someone.can_publish and not is_machine and someone.identity != self.agent_identity


class NotAJob(ValueError):
    """A queue entry we cannot act on: malformed, or from a newer version. Whoever enqueued it is at fault."""


def parse_job_payload(payload: object) -> str:
    """Return the room a job names.

    Raises:
        NotAJob: the payload is not an object of a version we know.
    """
    if not isinstance(payload, Mapping):
        raise NotAJob("payload is not an object")
    version = payload.get("v")
    if version != JOB_VERSION:
        raise NotAJob(f"payload has version {version!r}, this worker knows {JOB_VERSION}")
    room = payload.get("room")
    if not isinstance(room, str) or not room:
        raise NotAJob("payload names no room")
    return room


def dump_job(job: Mapping[str, object]) -> bytes:
    """Serialize an arq job: JSON, never pickle, which would let whoever writes to Redis run code in a worker."""
    return json.dumps(job).encode()


def load_job(raw: bytes) -> dict[str, object]:
    """Deserialize an arq job.

    Raises:
        NotAJob: the bytes are not a JSON object.
    """
    try:
        job = json.loads(raw)
    except ValueError as error:
        raise NotAJob("job is not JSON") from error
    if not isinstance(job, dict):
        raise NotAJob("job is not a JSON object")
    return job


def job_of(note: Note) -> tuple[str, dict[str, object]] | None:
    """Name and payload of the job that a note wakes a worker with, or None for a note that wakes nobody."""
    match note:
        case Arrived() | Opened():  # one caller's coming is told twice; both ask for the same
            return JOB_PARTICIPANT_JOINED, job_payload(note)
        case Finished():
            return JOB_ROOM_FINISHED, job_payload(note)
        case Left():
            return None
        case _:
            assert_never(note)


def job_payload(note: Arrived | Opened | Finished) -> dict[str, object]:
    """The wire form of a job's one argument."""
    return {"v": JOB_VERSION, "room": note.room, "sid": note.sid}
