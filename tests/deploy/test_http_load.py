"""The load of the benchmark: answers cut out of bytes, what became of each request, and what LiveKit would post."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.bench.deliveries import WAVE, Call, signed
from deploy.local.bench.http_load import (
    CLOSED,
    REFUSED,
    UNANSWERED,
    AnswerReader,
    Head,
    NotHttp,
    at_pace,
    in_turn,
)
from deploy.local.livekit_server import LiveKitKeys
from deploy.local.ports import free_port

OK = b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n"
CLOSING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "head"),
    [(OK, Head(200, closes=False)), (EMPTY, Head(204, closes=False)), (CLOSING, Head(503, closes=True))],
    ids=["body", "empty", "closing"],
)
@given(cuts=st.lists(st.integers(0, 100), max_size=8))
def test_an_answer_is_the_same_however_its_bytes_come(answer: bytes, head: Head, cuts: list[int]) -> None:
    """Complete with its last byte, and never before."""
    edges = sorted({0, len(answer), *(cut % len(answer) for cut in cuts)})
    reader = AnswerReader()
    pieces = [answer[start:end] for start, end in pairwise(edges)]
    said = [reader.feed(piece) for piece in pieces]
    assert said == [*[None] * (len(pieces) - 1), head]
    assert reader.feed(answer) == head


@pytest.mark.parametrize(
    "bytes_",
    [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", OK + b"x", b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000],
    ids=["other protocol", "no length", "too much", "endless"],
)
def test_what_is_no_answer_is_refused(bytes_: bytes) -> None:
    """A load must not count what it cannot read."""
    with pytest.raises(NotHttp):
        AnswerReader().feed(bytes_)


@asynccontextmanager
async def server(answers: list[bytes | None]) -> AsyncIterator[int]:
    """Answers requests with these in turn, and over again; None closes the connection, b"" says nothing."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                answer = answers[asked % len(answers)]
                asked += 1
                if answer is None:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield port


REQUEST = b"POST / HTTP/1.1\r\n\r\n"


async def test_each_request_of_a_closed_loop_is_answered_once() -> None:
    """Over a few connections, kept."""
    async with server([OK, EMPTY]) as port:
        done = await in_turn(port, [REQUEST] * 100, connections=4, limit_s=10.0)
    assert done.counts() == {"204": 50, "200": 50}
    assert done.served_per_s == pytest.approx(100 / done.took_s)
    assert [answer.number for answer in done.answers] == list(range(100))


@pytest.mark.parametrize(
    ("answers", "counted"),
    [([CLOSING], {"503": 50}), ([OK, None], {"200": 25, "closed": 25})],
    ids=["says so", "breaks off"],
)
async def test_a_connection_that_closes_is_opened_again(answers: list[bytes | None], counted: dict[str, int]) -> None:
    """What is left is sent over another one."""
    async with server(answers) as port:
        done = await in_turn(port, [REQUEST] * 50, connections=2, limit_s=30.0)
    assert done.counts() == counted


async def test_a_server_that_goes_away_refuses_the_rest() -> None:
    """Nothing is waited for that cannot come."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        listening.close()
        writer.close()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port) as listening:
        done = await in_turn(port, [REQUEST] * 10, connections=1, limit_s=30.0)
    assert len(asked) == 1
    assert done.counts() == {"closed": 1, "refused": 9}


async def test_nothing_to_send_is_done_at_once() -> None:
    """There is no answer to wait for."""
    async with server([OK]) as port:
        done = await in_turn(port, [], connections=1, limit_s=3600.0)
    assert list(done.answers) == []


async def test_a_pace_does_not_wait_for_answers() -> None:
    """What is closed on, and what stays unanswered, is counted as what it is."""
    async with server([None]) as port:
        closed = await at_pace(port, [REQUEST] * 20, per_s=2000, connections=50, answer_limit_s=5.0)
    async with server([b""]) as port:
        silent = await at_pace(port, [REQUEST] * 20, per_s=2000, connections=10, answer_limit_s=0.1)
    refused = await at_pace(free_port(), [REQUEST] * 5, per_s=2000, connections=50, answer_limit_s=5.0)
    assert {answer.status for answer in closed.answers} == {CLOSED}
    assert silent.counts() == {"unanswered": 10, "unsent": 10}
    assert {answer.status for answer in refused.answers} == {REFUSED}
    assert UNANSWERED < 0


def test_deliveries_are_signed_as_livekit_signs_them_and_in_the_order_of_each_call() -> None:
    """The hash of the body in a token of our keys; the events of a call in the order in which they happen."""
    keys = LiveKitKeys()
    calls = [
        Call(f"room-{number}", ends=number % 2 == 0, began_unix_ms=1_764_000_000_123) for number in range(WAVE + 1)
    ]
    deliveries = signed(calls, keys, path="/hook", now_unix_s=1_764_000_000)
    events = [one.event for one in deliveries if one.call is calls[0]]
    assert events[0] == "room_started"
    assert events[-1] == "room_finished"
    assert len(events) == 9
    assert [one.event for one in deliveries if one.call is calls[1]][-1] == "track_published"
    head, _, body = deliveries[1].request.partition(b"\r\n\r\n")
    token = next(line.split(": ")[1] for line in head.decode().split("\r\n") if line.startswith("Authorization"))
    claims = jwt.decode(token, keys.api_secret, algorithms=["HS256"], options={"verify_exp": False})
    assert claims["sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert f"Content-Length: {len(body)}" in head.decode()
    assert json.loads(body)["room"]["name"] == deliveries[1].call.name
