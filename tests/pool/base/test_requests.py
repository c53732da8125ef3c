"""Connections whose request does not get complete: late, too long, or too many. Over real sockets."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from pool.base.requests import MOST_CONNECTIONS, RequestLimits
from pool.base.serve import serve

PATIENT = RequestLimits(connections=4, headers_s=30.0, headers_bytes=1000)
HASTY = RequestLimits(connections=4, headers_s=0.05)
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: x\r\nX-"
ANSWERED = b"HTTP/1.1 200 OK"
AWAY_S = 10.0


class Line(NamedTuple):
    """One connection, from the side of whoever asks."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes = WHOLE) -> bytes:
        """Send a request and return the answer's first line; empty when the connection ends instead."""
        self.writer.write(request)
        try:
            async with asyncio.timeout(AWAY_S):
                head = await self.reader.readuntil(b"\r\n\r\n")
                await self.reader.readexactly(len(b"hello"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        return head.partition(b"\r\n")[0]

    def say(self, something: bytes) -> None:
        self.writer.write(something)

    async def ended(self, *, within_s: float = AWAY_S) -> bool:
        """Wait until the server has closed the connection without a word."""
        try:
            async with asyncio.timeout(within_s):
                return not await self.reader.read()
        except TimeoutError:
            return False
        except ConnectionError:
            return True


class Site:
    """A server with limits, and lines to it that are hung up at the end."""

    def __init__(self, port: int, asked: asyncio.Event, answer: asyncio.Event) -> None:
        self._port = port
        self._lines: list[Line] = []
        self.asked = asked
        self.answer = answer

    async def call(self, something: bytes = b"") -> Line:
        line = Line(*await asyncio.open_connection("127.0.0.1", self._port))
        self._lines.append(line)
        line.say(something)
        return line

    def hang_up(self) -> None:
        for line in self._lines:
            line.writer.close()


@asynccontextmanager
async def site(limits: RequestLimits) -> AsyncIterator[Site]:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hello(_request: Request) -> Response:
        return PlainTextResponse("hello")

    async def slow(_request: Request) -> Response:
        asked.set()
        await answer.wait()
        return PlainTextResponse("hello")

    async def whole(request: Request) -> Response:
        await request.body()
        return PlainTextResponse("hello")

    app = Starlette(
        routes=[
            Route("/", hello, methods=["GET", "POST"]),
            Route("/slow", slow),
            Route("/whole", whole, methods=["POST"]),
        ]
    )
    async with serve(app, host="127.0.0.1", port=0, name="limited", limits=limits) as port:
        opened = Site(port, asked, answer)
        try:
            yield opened
        finally:
            opened.hang_up()


@pytest.mark.parametrize("said", [b"", b"\r\n", HALF], ids=["nothing", "an empty line", "half a request"])
async def test_headers_that_are_late_end_the_connection(said: bytes) -> None:
    """Counted from connecting, whatever came meanwhile."""
    async with site(HASTY) as opened:
        assert await (await opened.call(said)).ended()


async def test_each_byte_in_time_is_not_enough() -> None:
    """A dribble does not put the end off."""
    async with site(HASTY) as opened, asyncio.timeout(AWAY_S):
        line = await opened.call(HALF)
        while not await line.ended(within_s=HASTY.headers_s / 10):
            line.say(b"a")


async def test_a_connection_in_use_is_timed_from_the_first_byte_of_the_next_request() -> None:
    """Idle it is kept for longer; half a request more and it ends."""
    async with site(HASTY) as opened:
        line = await opened.call()
        assert await line.ask() == ANSWERED
        assert await (await opened.call(HALF)).ended()  # so that much time has passed
        assert await line.ask() == ANSWERED
        line.say(HALF)
        assert await line.ended()


async def test_an_answer_may_take_longer_than_headers_may() -> None:
    """And so may a body: that is for the application to limit."""
    async with site(HASTY) as opened:
        line = await opened.call(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await opened.asked.wait()
        asyncio.get_running_loop().call_later(3 * HASTY.headers_s, opened.answer.set)
        assert await line.ask(b"") == ANSWERED


async def test_a_body_that_nobody_waits_for_has_a_limit() -> None:
    """The answer went out before the body had come; whoever sends on for ever is cut off."""
    async with site(HASTY) as opened:
        line = await opened.call()
        assert await line.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n") == ANSWERED
        assert await line.ended()


@pytest.mark.parametrize("is_first", [True, False], ids=["the first", "a later"])
@pytest.mark.parametrize(
    "start",
    [b"GET / HTTP/1.1\r\nX-A: ", b"GET /", b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 9],
    ids=["a long value", "a long path", "many fields"],
)
async def test_headers_that_are_too_long_end_the_connection(start: bytes, is_first: bool) -> None:
    """Of the first request as of any other; nobody waits for their end."""
    async with site(PATIENT) as opened:
        line = await opened.call()
        if not is_first:
            assert await line.ask() == ANSWERED
        line.say(start + b"a" * (PATIENT.headers_bytes // 2))
        line.say(b"a" * PATIENT.headers_bytes)
        assert await line.ended()


async def test_a_long_body_is_no_long_header() -> None:
    """Only what comes before the headers are complete counts, over any number of requests."""
    async with site(PATIENT) as opened:
        line = await opened.call()
        body = b"a" * (5 * PATIENT.headers_bytes)
        for _ in range(30):
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            assert await line.ask(head + body) == ANSWERED


@pytest.mark.parametrize(
    "said",
    [b"", HALF, b"POST /whole HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"],
    ids=["nothing", "half the headers", "half a body"],
)
async def test_a_newcomer_takes_the_place_of_the_oldest_that_owes_a_request(said: bytes) -> None:
    """However many half-open ones there are, the next request is answered; idle ones that were of use stay."""
    async with site(PATIENT) as opened:
        of_use = await opened.call()
        assert await of_use.ask() == ANSWERED
        with capture_logs() as logs:
            owing = [await opened.call(said) for _ in range(3)]
            for _ in range(3):
                assert await (await opened.call()).ask() == ANSWERED
            for line in owing:
                assert await line.ended()
        assert await of_use.ask() == ANSWERED
        assert [entry["event"] for entry in logs] == ["connections_full"]


async def test_a_newcomer_takes_the_place_of_the_one_idle_for_longest() -> None:
    """When nobody owes anything."""
    async with site(PATIENT) as opened:
        idle = [await opened.call() for _ in range(4)]
        for line in (*idle, idle[0]):
            assert await line.ask() == ANSWERED
        assert await (await opened.call()).ask() == ANSWERED
        assert await idle[1].ended()
        for line in (idle[0], idle[2], idle[3]):
            assert await line.ask() == ANSWERED


async def test_when_all_are_being_answered_the_newcomer_is_refused() -> None:
    """Who is served is served to the end."""
    async with site(PATIENT) as opened:
        lines = []
        for _ in range(PATIENT.connections):
            lines.append(await opened.call(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"))
            await opened.asked.wait()
            opened.asked.clear()
        assert await (await opened.call()).ended()
        opened.answer.set()
        for line in lines:
            assert await line.ask(b"") == ANSWERED


@pytest.fixture
def soft_limit() -> Iterator[int]:
    """The number of file descriptors that this process may have, set low for the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    yield 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_process_keeps_half_of_its_file_descriptors_for_itself(soft_limit: int) -> None:
    """And never serves more than a thousand."""
    assert RequestLimits.of_process().connections == soft_limit // 2 < MOST_CONNECTIONS
    assert RequestLimits.of_process(most=64).connections == 64
