"""Many requests to one HTTP server of this machine, over kept connections, and what became of each.

A client for measuring alone: it sends requests that are ready made, and reads of an answer no more than its status.
Anything richer would be busier than the server that it measures.
"""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

REFUSED, CLOSED, UNANSWERED, UNSENT = -1, -2, -3, -4
"""In place of a status: the connection was not taken; it ended before the answer; no answer came in time; all of our
connections were busy, so that the request was never sent."""

NAMES = {REFUSED: "refused", CLOSED: "closed", UNANSWERED: "unanswered", UNSENT: "unsent"}

DIAL_LIMIT_S = 5.0
TICK_S = 0.002
"""A pace is kept on the average; requests that are due together are sent together."""

_MOST_HEAD_BYTES = 16_384
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)
_CLOSING = re.compile(rb"\r\nconnection: *close *\r\n", re.IGNORECASE)


class NotHttp(Exception):
    """The server sent what this client does not read. Ours to mend: it is our server."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request."""

    number: int
    """Of the request, from 0."""
    status: int
    """HTTP's, or one of the four negative ones above."""
    took_s: float
    """From sending it, or from dialling for it, to the answer's last byte, or to whatever came instead."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer that has come whole."""

    status: int
    closes: bool
    """No other request may follow on its connection."""


class AnswerReader:
    """Cuts what a connection says into answers. Touches no socket; any split of the bytes gives the same answers."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Head | None:
        """Take bytes; the answer when they complete one.

        Raises:
            NotHttp: They are no answer with a length, or more than one, which nobody asked for.
        """
        self._pending += data
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            if len(self._pending) > _MOST_HEAD_BYTES:
                raise NotHttp("the head of an answer has no end")
            return None
        head = self._pending[: end + 2]
        status = _STATUS.match(head)
        if status is None:
            raise NotHttp(f"an answer begins with {head[:32]!r}")
        length = _LENGTH.search(head)
        if length is None and status[1] != b"204":
            raise NotHttp("an answer has no length")
        missing = end + 4 + (int(length[1]) if length else 0) - len(self._pending)
        if missing > 0:
            return None
        if missing < 0:
            raise NotHttp("there is more than the answer")
        self._pending = b""
        return Head(int(status[1]), closes=_CLOSING.search(head) is not None)


class _Connection(asyncio.Protocol):
    """One connection, on which one request at a time is under way."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._reader = AnswerReader()
        self._number: int | None = None
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, number: int, *, asked_at: float) -> None:
        self._number, self._asked_at = number, asked_at
        self._transport.write(self._load.requests[number])

    def data_received(self, data: bytes) -> None:
        head = self._reader.feed(data)
        if head is None:
            return
        number, self._number = self._number, None
        if number is None:
            raise NotHttp("an answer that nobody asked for")
        self._load.answered(self, Answer(number, head.status, self._load.now - self._asked_at), is_kept=not head.closes)

    def connection_lost(self, _error: Exception | None) -> None:
        self._load.lost(self, self._number, self._asked_at)

    def abort(self) -> None:
        self._transport.abort()


class _Load:
    """The state of one run. Requests that wait are in order, and no more than were given."""

    def __init__(self, port: int, requests: Sequence[bytes], *, connections: int) -> None:
        self.requests = requests
        self.answers: dict[int, Answer] = {}
        self.all_answered = asyncio.Event()
        if not requests:
            self.all_answered.set()
        self._port = port
        self._most = connections
        self._loop = asyncio.get_running_loop()
        self._free: deque[_Connection] = deque()  # bounded by `_most`, as is `_open`
        self._open: dict[_Connection, None] = {}
        self._dialling = 0
        self._left: deque[int] = deque()  # to be sent in turn
        self._redials: asyncio.TaskGroup | None = None

    @property
    def now(self) -> float:
        return self._loop.time()

    def send_in_turn(self, group: asyncio.TaskGroup) -> None:
        """Send all of them, the next one whenever a connection is free; for each that is closed open another."""
        self._left.extend(range(len(self.requests)))
        self._redials = group
        while self._free and self._left:
            self._free.popleft().ask(self._left.popleft(), asked_at=self.now)

    def offer(self, number: int, group: asyncio.TaskGroup) -> None:
        """Send one now, over a connection that is free or over a new one; unless we have too many."""
        if self._free:
            self._free.popleft().ask(number, asked_at=self.now)
        elif len(self._open) + self._dialling < self._most:
            self._dialling += 1
            group.create_task(self._dial_for(number), name=f"dial for {number}")
        else:
            self._note(Answer(number, UNSENT, 0.0))

    async def dial(self) -> None:
        """Open one more connection that is free. Raises OSError, or TimeoutError."""
        connection = await self._connect()
        self._free.append(connection)

    async def _redial(self) -> None:
        """One more connection for what is left, which goes on by itself. While none can be had, each is refused."""
        while self._left:
            self._dialling += 1
            if await self._dial_for(self._left.popleft()):
                return

    async def _dial_for(self, number: int) -> bool:
        """Send this one over a new connection. False: there is none to be had."""
        began_at = self.now
        try:
            connection = await self._connect()
        except OSError:  # a TimeoutError is one, too
            self._note(Answer(number, REFUSED, self.now - began_at))
            return False
        else:
            connection.ask(number, asked_at=began_at)
            return True
        finally:
            self._dialling -= 1

    async def _connect(self) -> _Connection:
        async with asyncio.timeout(DIAL_LIMIT_S):
            _, connection = await self._loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        self._open[connection] = None
        return connection

    def answered(self, connection: _Connection, answer: Answer, *, is_kept: bool) -> None:
        self._note(answer)
        if not is_kept:
            connection.abort()
        elif self._left:
            connection.ask(self._left.popleft(), asked_at=self.now)
        else:
            self._free.append(connection)

    def lost(self, connection: _Connection, number: int | None, asked_at: float) -> None:
        self._open.pop(connection, None)
        if connection in self._free:
            self._free.remove(connection)
        if number is not None:
            self._note(Answer(number, CLOSED, self.now - asked_at))
        if self._left and self._redials is not None:
            self._redials.create_task(self._redial(), name="redial")

    def _note(self, answer: Answer) -> None:
        self.answers.setdefault(answer.number, answer)
        if len(self.answers) == len(self.requests):
            self.all_answered.set()

    async def finished(self, limit_s: float) -> list[Answer]:
        """All answers in the order of the requests, after at most `limit_s`; connections are closed then."""
        try:
            async with asyncio.timeout(limit_s):
                await self.all_answered.wait()
        except TimeoutError:
            self._left.clear()
            for number in range(len(self.requests)):
                self._note(Answer(number, UNANSWERED, limit_s))
        self.close()
        return [self.answers[number] for number in range(len(self.requests))]

    def close(self) -> None:
        for connection in list(self._open):
            connection.abort()


@dataclass(frozen=True, slots=True)
class Round:
    """A run of requests: what became of each, and how long all of it took."""

    answers: Sequence[Answer]
    took_s: float

    @property
    def served_per_s(self) -> float:
        """Requests that got an answer of any status, a second."""
        return sum(answer.status > 0 for answer in self.answers) / self.took_s

    @property
    def sent_per_s(self) -> float:
        return sum(answer.status != UNSENT for answer in self.answers) / self.took_s

    def counts(self) -> dict[str, int]:
        """How many came to which end, by status or by name."""
        counted: dict[str, int] = {}
        for answer in sorted(self.answers, key=lambda answer: -answer.status):
            name = NAMES.get(answer.status, str(answer.status))
            counted[name] = counted.get(name, 0) + 1
        return counted


async def in_turn(port: int, requests: Sequence[bytes], *, connections: int, limit_s: float) -> Round:
    """Send all of them, each connection the next one as soon as it has its answer: a closed loop.

    Raises:
        OSError: A connection cannot be made.
    """
    load = _Load(port, requests, connections=connections)
    try:
        for _ in range(connections):
            await load.dial()
        began_at = load.now
        async with asyncio.TaskGroup() as group:
            load.send_in_turn(group)
            answers = await load.finished(limit_s)
            took_s = load.now - began_at
        return Round(answers, took_s)
    finally:
        load.close()


async def at_pace(
    port: int, requests: Sequence[bytes], *, per_s: float, connections: int, answer_limit_s: float
) -> Round:
    """Send them at a pace that does not wait for answers, over up to so many connections: an open loop.

    `took_s` is the time of sending; answers are waited for at most `answer_limit_s` longer.
    """
    load = _Load(port, requests, connections=connections)
    try:
        async with asyncio.TaskGroup() as group:
            began_at = load.now
            sent = 0
            while sent < len(requests):
                due = min(int((load.now - began_at) * per_s) + 1, len(requests))
                for number in range(sent, due):
                    load.offer(number, group)
                sent = due
                await asyncio.sleep(TICK_S)
            took_s = load.now - began_at
        return Round(await load.finished(answer_limit_s), took_s)
    finally:
        load.close()
