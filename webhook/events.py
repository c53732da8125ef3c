"""What LiveKit's webhook says, as values: bytes in, a frozen `RoomEvent` out. Pure.

The wire form is protojson with its defaults: lowerCamelCase names, enums by name (a value the server's own schema
does not know, by number), 64-bit integers as strings, and **zero values left out**, so `kind` is absent for a
standard participant and `canPublish` for one who may not. Read from the raw JSON and not through the protobuf
classes, which turn a kind they do not know into STANDARD: a new sort of machine would be taken for a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

JOINED = "participant_joined"
GONE = frozenset({"participant_left", "participant_connection_aborted"})
FINISHED = "room_finished"
STARTED = "room_started"

KNOWN_EVENTS = frozenset(
    {STARTED, FINISHED, JOINED, *GONE, "track_published", "track_unpublished"}
    | {"egress_started", "egress_updated", "egress_ended", "ingress_started", "ingress_ended"}
    | {"agent_job_started", "agent_job_ended"}
)

KINDS = {0: "STANDARD", 1: "INGRESS", 2: "EGRESS", 3: "SIP", 4: "AGENT", 7: "CONNECTOR", 8: "BRIDGE"}
"""ParticipantInfo.Kind of LiveKit's protocol 1.1.29."""

MAX_SID_CHARS = 128
"""LiveKit's have 15. Sids go into room state, so something must bound them."""


class UnreadableEvent(ValueError):
    """The body is signed, and yet not an event we can read. A repeat would not cure it."""


@dataclass(frozen=True, slots=True)
class Room:
    """One life of a room: `sid` names it, `name` is what callers join."""

    name: str
    sid: str
    created_unix_ms: int


@dataclass(frozen=True, slots=True)
class Participant:
    """One stay of a participant, with what decides whether it is a caller.

    `kind` is LiveKit's name for it, or `UNKNOWN_<number>`; `disconnect_reason` is empty while it is there.
    """

    sid: str
    identity: str
    kind: str
    joined_unix_ms: int
    can_publish: bool
    hidden: bool
    recorder: bool
    agent: bool
    disconnect_reason: str


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    """A participant's transport is connected; sent again, with a new sid, after each full reconnect."""

    event: ClassVar[str] = JOINED
    delivery: str
    room: Room
    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantGone:
    """A participant left, or was closed before it was ever connected (`event` tells which)."""

    delivery: str
    event: str
    room: Room
    participant: Participant


@dataclass(frozen=True, slots=True)
class RoomFinished:
    """LiveKit closed the room. This sid never comes back."""

    event: ClassVar[str] = FINISHED
    delivery: str
    room: Room


@dataclass(frozen=True, slots=True)
class RoomStarted:
    """LiveKit opened a room: some 50 ms before the caller for whom it did is connected (seen)."""

    event: ClassVar[str] = STARTED
    delivery: str
    room: Room


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event that decides nothing here, or one newer than we are. `room` is its room's name, if it says one."""

    delivery: str
    event: str
    room: str


RoomEvent = ParticipantJoined | ParticipantGone | RoomFinished | RoomStarted | OtherEvent


def parse_event(body: bytes) -> RoomEvent:
    """Read one delivery.

    Raises:
        UnreadableEvent: not JSON, not an object, or without what its event must have. Nothing else is raised.
    """
    try:
        message = orjson.loads(body)
    except ValueError as error:
        raise UnreadableEvent("body is not JSON") from error
    if not isinstance(message, dict):
        raise UnreadableEvent("body is not an object")
    event, delivery = _text(message, "event"), _text(message, "id")
    if not event:
        raise UnreadableEvent("event is missing")
    if event == JOINED:
        return ParticipantJoined(delivery, _room(message), _participant(message))
    if event in GONE:
        return ParticipantGone(delivery, event, _room(message), _participant(message))
    if event == FINISHED:
        return RoomFinished(delivery, _room(message))
    if event == STARTED:
        return RoomStarted(delivery, _room(message))
    room = message.get("room")
    name = room.get("name") if isinstance(room, dict) else None
    return OtherEvent(delivery, event, name if isinstance(name, str) else "")


def _room(message: Mapping[str, Any]) -> Room:
    room = _object(message, "room")
    name = _text(room, "name")
    if not name:
        raise UnreadableEvent("room.name is missing")
    return Room(name, _sid(room), _unix_ms(room, "creationTimeMs", "creationTime"))


def _participant(message: Mapping[str, Any]) -> Participant:
    participant = _object(message, "participant")
    # The server always sends permissions; where they are missing altogether, nothing is known against the caller.
    permission = _object(participant, "permission") if "permission" in participant else {"canPublish": True}
    return Participant(
        sid=_sid(participant),
        identity=_text(participant, "identity"),
        kind=_kind(participant.get("kind", 0)),
        joined_unix_ms=_unix_ms(participant, "joinedAtMs", "joinedAt"),
        can_publish=permission.get("canPublish") is True,
        hidden=permission.get("hidden") is True,
        recorder=permission.get("recorder") is True,
        agent=permission.get("agent") is True,
        disconnect_reason=str(participant.get("disconnectReason", ""))[:MAX_SID_CHARS],
    )


def _object(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = message.get(name)
    if not isinstance(value, dict):
        raise UnreadableEvent(f"{name} is not an object")
    return value


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name, "")
    if not isinstance(value, str):
        raise UnreadableEvent(f"{name} is not text")
    return value


def _sid(message: Mapping[str, Any]) -> str:
    sid = _text(message, "sid")
    if not 0 < len(sid) <= MAX_SID_CHARS:
        raise UnreadableEvent("sid is missing or too long")
    return sid


def _kind(value: object) -> str:
    match value:
        case bool():
            raise UnreadableEvent("kind is neither a name nor a number")
        case int():
            return KINDS.get(value, f"UNKNOWN_{value}")
        case str():
            return value
        case _:
            raise UnreadableEvent("kind is neither a name nor a number")


def _unix_ms(message: Mapping[str, Any], milliseconds: str, seconds: str) -> int:
    """A time in milliseconds; from its older field in seconds where the server has no finer one."""
    return _int64(message, milliseconds) or _int64(message, seconds) * 1000


def _int64(message: Mapping[str, Any], name: str) -> int:
    value = message.get(name, 0)
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.removeprefix("-").isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise UnreadableEvent(f"{name} is not a 64-bit integer")
    return value
