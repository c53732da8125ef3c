"""What a connection may cost while its request is not complete: time, bytes, and a place that others need.

uvicorn waits without limit for the end of a request's headers, keeps all of them, and takes connections until the
process has no file descriptors left. A thousand strangers who send half a header would silence a receiver.
"""

import asyncio
import resource
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, cast

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = structlog.get_logger()

MOST_CONNECTIONS = 1024
TOLD_EVERY_S = 60.0
"""How often at most a server says that it is full."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Of one server."""

    connections: int
    """At one time. A newcomer takes the place of the oldest that owes the rest of a request, else of the one idle for
    longest; when all are being answered, the newcomer itself is refused."""
    headers_s: float = 10.0
    """For the headers of a request: from connecting, and on a connection in use from the first byte."""
    headers_bytes: int = 64 * 1024
    """Looked at after each read, so one read more (256 KiB at most) may have come."""

    @classmethod
    def of_process(cls, *, most: int = MOST_CONNECTIONS) -> Self:
        """At most so many connections, and as many as leave half of the file descriptors for everything else."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(most if soft == resource.RLIM_INFINITY else min(most, soft // 2))

    def protocol(self) -> type[asyncio.Protocol]:
        """For `uvicorn.Config(http=...)` of one server: its connections know of each other."""
        return cast(type[asyncio.Protocol], partial(_Connection, limits=self, places=_Places()))


@dataclass(slots=True)
class _Places:
    """The connections that may be asked to give way, in the order in which they will be."""

    owing: dict["_Connection", None] = field(default_factory=dict)
    """Connected, or a request has begun, and it is not complete."""
    idle: dict["_Connection", None] = field(default_factory=dict)
    told_at: float = float("-inf")


class _Connection(HttpToolsProtocol):
    """uvicorn's connection, which ends when the headers of a request are late, too long, or in others' way."""

    def __init__(self, *args: Any, limits: RequestLimits, places: _Places, **named: Any) -> None:
        super().__init__(*args, **named)
        self._limits = limits
        self._places = places
        self._awaits_headers = True
        self._headers_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            next(iter(self._places.owing or self._places.idle or (self,)))._give_way()
        self._places.owing[self] = None
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._awaits_headers:
            self._expect_headers()
            self._headers_bytes += len(data)
        super().data_received(data)
        if self._awaits_headers and self._headers_bytes > self._limits.headers_bytes:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._places.idle.pop(self, None)
        self._places.owing[self] = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._expect_nothing()
        self._awaits_headers, self._headers_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._places.owing.pop(self, None)
        self._awaits_headers = True
        super().on_message_complete()
        self._note_if_idle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self in self._places.owing:  # answered early: the rest of the body is nobody's to wait for, and has a limit
            self._expect_headers()
        self._note_if_idle()

    def _note_if_idle(self) -> None:
        if self not in self._places.owing and self.cycle.response_complete and not self.transport.is_closing():
            self._places.idle[self] = None

    def _expect_headers(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.headers_s, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_way(self) -> None:
        self._forget()
        self.transport.abort()
        if self.loop.time() - self._places.told_at >= TOLD_EVERY_S:
            self._places.told_at = self.loop.time()
            log.warning("connections_full", limit=self._limits.connections, owing=len(self._places.owing))

    def _forget(self) -> None:
        self._expect_nothing()
        self._places.owing.pop(self, None)
        self._places.idle.pop(self, None)
