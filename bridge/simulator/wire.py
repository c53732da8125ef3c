"""The server's frames as bytes, and a client's messages out of them. Knows shapes, not when they are sent.

Everything but `reply.audio` is built by one function; audio is joined from parts, since there are a hundred a second.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket with a close frame."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Binary:
    """A binary message, which the protocol never uses."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """Cut the connection, with no close frame."""


Outgoing = bytes | Binary | Close | Abort
"""What a session wants done with its socket; plain bytes are one text message."""

Message = Mapping[str, object]


def parse(raw: str | bytes) -> Message | None:
    """A client's message: a JSON object in a text message, None for anything else."""
    if isinstance(raw, bytes):
        return None
    try:
        message = orjson.loads(raw)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def event(kind: str, unix_s: float, **facts: object) -> bytes:
    """A server event. `timestamp` is epoch seconds as a float, as seen live (the documents show an ISO string)."""
    return orjson.dumps({"type": kind, **facts, "timestamp": round(unix_s, 3)})


def audio_event_head(reply_id: str) -> bytes:
    """What stands before the base64 of `reply.audio`; the field is `data`, not `audio`."""
    return b'{"type":"reply.audio","reply_id":"%s","data":"' % reply_id.encode()


def audio_event(head: bytes, frame: bytes, unix_s: float) -> bytes:
    """One `reply.audio` of 10 ms."""
    return b'%s%s","timestamp":%.3f}' % (head, frame, unix_s)


def new_id(prefix: str) -> str:
    """An opaque id in the form seen live: `sess_`, `resp_` or `msg_`, then 32 hex digits."""
    return f"{prefix}_{secrets.token_hex(16)}"


def unknown_event(unix_s: float) -> bytes:
    """An event of a type that nobody knows, with nested facts."""
    return event("simulator.unknown", unix_s, note="[simulator] an event that nobody knows", nested={"deep": [1, None]})


def garbage(unix_s: float) -> list[Outgoing]:
    """What no server should send: a client survives it and counts it."""
    stray = new_id("resp")
    return [
        b"not JSON",
        b"[1,2]",
        b'{"type":7}',
        Binary(b"\x00\xff\xfe"),
        event("reply.audio", unix_s, reply_id=stray, data="*** not base64 ***"),
        event("reply.audio", unix_s, reply_id=stray, data="AAAA"),
        event("reply.audio", unix_s, reply_id=stray),
    ]
