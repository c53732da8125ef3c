"""One delivery of LiveKit's webhook: verify, parse, decide, submit, answer; and one log line with its whole story.

What LiveKit makes of an answer rules here: it repeats after 429 and 5xx (five times in 15 s) and takes every other
status for success, for good. So whatever a repeat could cure is a 503, and nothing that a stranger can send is one:
strangers are refused before a byte of their body is read. The body holds a secret (`turnPassword`): it is never logged.
A genuine delivery may be replayed while its signature lasts. That does no harm (webhook/policy.py says why), so
there is no memory of ids to keep.
"""

import asyncio
import enum
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pool.client import PoolUnreachable
from pool.contract import Heard, Note, RoomRules
from webhook.events import (
    OtherEvent,
    ParticipantJoined,
    RoomEvent,
    RoomFinished,
    RoomStarted,
    UnreadableEvent,
    parse_event,
)
from webhook.metrics import Metrics
from webhook.policy import Ignore, IgnoreReason, decide
from webhook.signature import BadSignature, Keyring, verify_body, verify_token
from webhook.story_writer import StoryWriter

log = structlog.get_logger()

SIGNATURE_CURE = "if your own LiveKit sent this: check LIVEKIT_API_KEY and LIVEKIT_API_SECRET here, and both clocks"


MAX_UNREAD_BYTES = 65_536
"""A refused body of up to this size is let in and thrown away, so that the answer is sure to arrive; for a larger
one, or one of unknown size, the connection is closed."""

MAX_LOGGED_CHARS = 256
"""Of a name that somebody else chose."""


class Pool(Protocol):
    """The pool, as far as the receiver sees it: `pool.client.PoolClient`."""

    async def submit(self, note: Note) -> None: ...

    async def tell(self, heard: Sequence[Heard]) -> bool: ...

    async def ping(self) -> None: ...


class Verdict(enum.Enum):
    """What became of a delivery."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    BAD_SIGNATURE = "bad_signature"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    SENDER_GONE = "sender_gone"
    POOL_UNREACHABLE = "pool_unreachable"
    FAILED = "failed"


STATUS = {
    Verdict.ACCEPTED: 200,
    Verdict.IGNORED: 204,
    Verdict.BAD_SIGNATURE: 401,
    Verdict.UNREADABLE: 400,
    Verdict.TOO_LARGE: 413,
    Verdict.TOO_SLOW: 503,  # its token was good, so it is worth a repeat
    Verdict.SENDER_GONE: 400,  # nobody hears it
    Verdict.POOL_UNREACHABLE: 503,
    Verdict.FAILED: 503,  # a bug of ours; the sender is one of ours, too
}


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """What one delivery may cost. A room's metadata alone may be 512 KiB, and LiveKit never repeats a 413."""

    max_body_bytes: int = 4 * 1024 * 1024
    read_s: float = 5.0


class Receiver:
    """Takes deliveries. Holds nothing between two of them, but lines of stories that wait to be written."""

    def __init__(
        self,
        *,
        keys: Keyring,
        rules: RoomRules,
        prepares: bool,
        pool: Pool,
        metrics: Metrics,
        limits: DeliveryLimits,
        story_writer: StoryWriter,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._prepares = prepares
        self._pool = pool
        self._metrics = metrics
        self._limits = limits
        self._story_writer = story_writer
        self._now_s = now_s

    async def receive(self, request: Request) -> Response:
        """Answer `POST /livekit/webhook`. Raises nothing but CancelledError."""
        began_at = time.perf_counter()
        story = _Story()
        try:
            verdict = await self._take(request, story)
        except BadSignature as error:
            verdict, story.reason = Verdict.BAD_SIGNATURE, error.reason.value
            story.cure = SIGNATURE_CURE
        except _BodyRefused as error:
            verdict = error.verdict
        except UnreadableEvent as error:
            verdict, story.reason = Verdict.UNREADABLE, str(error)
        except PoolUnreachable as error:
            verdict, story.reason = Verdict.POOL_UNREACHABLE, str(error)
        except Exception as error:  # the boundary of one delivery: the next one must be taken
            verdict, story.reason = Verdict.FAILED, type(error).__name__
            log.exception("delivery_failed", delivery=story.delivery)
        self._report(story, verdict, seconds=time.perf_counter() - began_at)
        return _answer(verdict, closing=not story.is_body_read and not _is_small(request))

    async def _take(self, request: Request, story: "_Story") -> Verdict:
        body_hash = verify_token(request.headers.get("authorization"), self._keys, now_s=self._now_s())
        body = await _read(request, self._limits)
        story.is_body_read = True
        verify_body(body_hash, body)
        event = parse_event(body)
        story.tell(event)
        note = decide(event, self._rules, prepares=self._prepares)
        if isinstance(note, Ignore):
            story.reason = note.reason.value
            self._tell_story(event, note.reason)
            return Verdict.IGNORED
        await self._pool.submit(note)
        self._tell_story(event, None)
        return Verdict.ACCEPTED

    def _tell_story(self, event: RoomEvent, reason: IgnoreReason | None) -> None:
        """Tell `roompool why` that somebody's joining was heard of. Other events do not say who gets an agent."""
        if not isinstance(event, ParticipantJoined) or reason is IgnoreReason.ROOM_NAME_TOO_LONG:
            return
        self._story_writer.add(
            Heard(
                room=event.room.name,
                delivery=event.delivery,
                participant=event.participant.sid,
                reason=reason.value if reason else "",
                kind=event.participant.kind if reason is IgnoreReason.KIND else "",
            )
        )

    def _report(self, story: "_Story", verdict: Verdict, *, seconds: float) -> None:
        self._metrics.answered(event=story.event, outcome=verdict.value, seconds=seconds)
        log.log(
            logging.INFO if verdict in (Verdict.ACCEPTED, Verdict.IGNORED) else logging.WARNING,
            "delivery",
            delivery=story.delivery,
            livekit_event=story.event,
            room=story.room,
            participant=story.participant,
            outcome=verdict.value,
            reason=story.reason,
            duration_ms=round(seconds * 1000, 2),
            **({"cure": story.cure} if story.cure else {}),
        )


@dataclass(slots=True)
class _Story:
    """What is known so far of one delivery; it is told in one line, however the delivery ends."""

    delivery: str = ""
    event: str = ""
    room: str = ""
    participant: str = ""
    reason: str = ""
    cure: str = ""
    is_body_read: bool = False

    def tell(self, event: RoomEvent) -> None:
        """Take over what the event says of itself, cut to a length that a log can bear."""
        self.delivery = event.delivery[:MAX_LOGGED_CHARS]
        self.event = event.event[:MAX_LOGGED_CHARS]
        if isinstance(event, OtherEvent):
            self.room = event.room[:MAX_LOGGED_CHARS]
            return
        self.room = event.room.name[:MAX_LOGGED_CHARS]
        if not isinstance(event, RoomFinished | RoomStarted):
            self.participant = event.participant.sid


class _BodyRefused(Exception):
    """The body did not come as it must: too large, too slow, or not whole."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.value)
        self.verdict = verdict


async def _read(request: Request, limits: DeliveryLimits) -> bytes:
    """The whole body, held in memory, never more of it than the limit and one chunk."""
    if (_declared_bytes(request) or 0) > limits.max_body_bytes:
        raise _BodyRefused(Verdict.TOO_LARGE)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.read_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_body_bytes:
                    raise _BodyRefused(Verdict.TOO_LARGE)
    except TimeoutError as error:
        raise _BodyRefused(Verdict.TOO_SLOW) from error
    except ClientDisconnect as error:
        raise _BodyRefused(Verdict.SENDER_GONE) from error
    return bytes(body)


def _declared_bytes(request: Request) -> int | None:
    """What the header Content-Length says, or None; the server has already refused one that is not a number."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() and len(declared) < 20 else None


def _is_small(request: Request) -> bool:
    declared = _declared_bytes(request)
    return declared is not None and declared <= MAX_UNREAD_BYTES


def _answer(verdict: Verdict, *, closing: bool) -> Response:
    headers = {}
    if STATUS[verdict] == 503:
        headers["retry-after"] = "1"
    if closing:
        headers["connection"] = "close"
    return Response(status_code=STATUS[verdict], headers=headers)
