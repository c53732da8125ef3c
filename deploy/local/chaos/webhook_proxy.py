"""Stands between LiveKit and the receiver, and passes on every delivery as it came, byte for byte; or not so.

Real HTTP/1.1 both ways. What it loses, delays or turns round it first accepts with 200, as a queue would: LiveKit
repeats what is refused, and a repeated delivery is neither lost nor late.
"""

import asyncio
import contextlib
import enum
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

MAX_BYTES = 8 << 20
REORDERED_WITHIN_S = 1.5
"""How long deliveries are collected before they go out, the last one first."""

ANSWER_S = 30.0
PENDING = 10_000
"""Deliveries held back at most; beyond that they are passed on at once."""

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class DeliveryFault(enum.Enum):
    """What is done to deliveries."""

    NONE = "none"
    LOSE = "lose"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    REORDER = "reorder"


@dataclass(frozen=True, slots=True)
class _Held:
    """A delivery held back. Those due at the same moment go out with the last one first."""

    raw: bytes
    due_at: float
    number: int


class WebhookProxy:
    """An HTTP proxy on 127.0.0.1.

    Attributes:
        fault: What is done to deliveries that come from now on.
        delay_s: How late DELAY makes them; by default longer than a front-end waits for an agent.
        taken: How many came under a fault.
    """

    def __init__(self, port: int) -> None:
        self.fault = DeliveryFault.NONE
        self.delay_s = 25.0
        self.taken = 0
        self._port = port
        self._target = ("127.0.0.1", 0)
        self._held: list[_Held] = []
        self._passing = 0
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """Serve while the block runs; `route` says whom."""
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                proxy._own(group.create_task(proxy._serve(reader, writer), name="webhook_proxy"))

            server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=MAX_BYTES)
            proxy = cls(server.sockets[0].getsockname()[1])
            proxy._own(group.create_task(proxy._release_forever(), name="webhook_proxy_release"))
            try:
                yield proxy
            finally:
                server.close()
                for task in tuple(proxy._tasks):
                    task.cancel()

    def route(self, target: str) -> str:
        """Pass deliveries on to this URL from now on; the URL to post to instead of it."""
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        return f"http://127.0.0.1:{self._port}{parts.path}"

    async def has_nothing_left(self) -> bool:
        """Whether everything that was held back has been passed on."""
        return not self._held and not self._passing

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (raw := await _read_message(reader)) is not None:
                writer.write(await self._answer(raw))
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    async def _answer(self, raw: bytes) -> bytes:
        now = asyncio.get_running_loop().time()
        self.taken += self.fault is not DeliveryFault.NONE
        match self.fault:
            case DeliveryFault.LOSE:
                return ACCEPTED
            case DeliveryFault.DUPLICATE:
                await self._pass_on(raw)
                return await self._pass_on(raw)
            case DeliveryFault.DELAY if len(self._held) < PENDING:
                self._hold(_Held(raw, now + self.delay_s, self.taken))
                return ACCEPTED
            case DeliveryFault.REORDER if len(self._held) < PENDING:
                self._hold(
                    _Held(raw, min((held.due_at for held in self._held), default=now + REORDERED_WITHIN_S), self.taken)
                )
                return ACCEPTED
            case _:
                return await self._pass_on(raw)

    def _hold(self, held: _Held) -> None:
        self._held.append(held)
        self._news.set()

    async def _release_forever(self) -> None:
        """Task: send what was held back when its time has come."""
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            due_at = min((held.due_at for held in self._held), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await self._news.wait()
            now = loop.time()
            due = [held for held in self._held if held.due_at <= now]
            self._held = [held for held in self._held if held.due_at > now]
            self._passing = len(due)
            for held in sorted(due, key=lambda held: (held.due_at, -held.number)):
                await self._pass_on(held.raw)
                self._passing -= 1

    async def _pass_on(self, raw: bytes) -> bytes:
        """The receiver's own answer, as it came; 502 when there is none, upon which LiveKit tries again."""
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(*self._target, limit=MAX_BYTES)
                try:
                    writer.write(raw)
                    await writer.drain()
                    return await _read_message(reader) or REFUSED
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return REFUSED


async def _read_message(reader: asyncio.StreamReader) -> bytes | None:
    """One request or answer, head and body as they came; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return head + await reader.readexactly(int(length[1]) if length else 0)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
