"""`webhook.receive` on a real port: the answers, the limits, the line it logs and the series it counts."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from blockbuster import blockbuster_ctx
from structlog.testing import capture_logs
from structlog.typing import EventDict

from pool.client import PoolClient, PoolUnreachable
from pool.contract import Arrived, Finished, Left, Opened
from tests.webhook.deliveries import SECRET, TURN_PASSWORD, body_of, message, token_of
from tests.webhook.receiver import LIMITS, Ledger, Receiving, receiving, request_head
from webhook.app import PATH

JOIN = body_of(message("participant_joined"))
NO_SUCH_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    """Fails a test in which the receiver would make the other deliveries wait."""
    with blockbuster_ctx():
        yield


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def receiver(ledger: Ledger) -> AsyncIterator[Receiving]:
    async with receiving(ledger) as running:
        yield running


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """Every line that is logged while the test runs."""
    with capture_logs() as captured:
        yield captured


def story(lines: list[EventDict]) -> EventDict:
    """The one line of the one delivery."""
    (line,) = [line for line in lines if line["event"] == "delivery"]
    return line


async def test_a_join_is_submitted_and_accepted(receiver: Receiving, ledger: Ledger) -> None:
    """200 says that the pool has it."""
    answer = await receiver.post(JOIN)
    assert (answer.status_code, answer.content) == (200, b"")
    assert ledger.notes == [Arrived("demo", "RM_room1", 1763999990123, "PA_caller1", 1763999999456)]


@pytest.mark.parametrize(
    ("event", "note"),
    [
        ("participant_left", Left("demo", "RM_room1", "PA_caller1")),
        ("participant_connection_aborted", Left("demo", "RM_room1", "PA_caller1")),
        ("room_finished", Finished("demo", "RM_room1")),
    ],
)
async def test_endings_are_submitted(receiver: Receiving, ledger: Ledger, event: str, note: object) -> None:
    """Whoever left, and the room that ended."""
    assert (await receiver.post(body_of(message(event)))).status_code == 200
    assert ledger.notes == [note]


async def test_an_ignored_event_is_204_and_the_reason_is_logged(
    receiver: Receiving, ledger: Ledger, lines: list[EventDict]
) -> None:
    """LiveKit need not repeat it, and an operator sees why nothing happened."""
    answer = await receiver.post(body_of(message("track_published")))
    assert (answer.status_code, ledger.notes) == (204, [])
    assert (story(lines)["outcome"], story(lines)["reason"]) == ("ignored", "event_decides_nothing")


async def test_every_delivery_is_told_in_one_line(receiver: Receiving, lines: list[EventDict]) -> None:
    """With its id, its event, its room and what became of it."""
    posted_at = time.monotonic()
    await receiver.post(JOIN)
    waited_ms = 1000 * (time.monotonic() - posted_at)
    line = story(lines)
    assert 0 < line.pop("duration_ms") < waited_ms
    assert line == {
        "event": "delivery",
        "log_level": "info",
        "delivery": "EV_1",
        "livekit_event": "participant_joined",
        "room": "demo",
        "participant": "PA_caller1",
        "outcome": "accepted",
        "reason": "",
    }


async def test_a_line_bears_a_name_of_any_length(receiver: Receiving, lines: list[EventDict]) -> None:
    """Names are cut, for they are chosen by others."""
    await receiver.post(body_of(message("room_finished", room={"name": "x" * 4000}, id="y" * 4000)))
    assert (len(story(lines)["room"]), len(story(lines)["delivery"])) == (256, 256)


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (lambda: "", "missing"),
        (lambda: "garbage", "malformed"),
        (lambda: f"Bearer {token_of(JOIN, now_s=time.time())}", "malformed"),
        (lambda: token_of(JOIN, now_s=time.time(), secret=SECRET[::-1]), "forged"),
        (lambda: token_of(JOIN, now_s=time.time() - 1000), "expired"),
        (lambda: token_of(b"another body", now_s=time.time()), "body_altered"),
    ],
    ids=["none", "garbage", "bearer", "forged", "expired", "altered"],
)
async def test_a_bad_signature_is_401_with_its_reason_in_the_log_alone(
    receiver: Receiving, ledger: Ledger, lines: list[EventDict], authorization: Callable[[], str], reason: str
) -> None:
    """A stranger learns nothing, and nothing changes."""
    # Signed now: a token made when tests are collected would have expired in a long run.
    answer = await receiver.post(JOIN, authorization=authorization())
    assert (answer.status_code, answer.content, ledger.notes) == (401, b"", [])
    assert (story(lines)["outcome"], story(lines)["reason"]) == ("bad_signature", reason)


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"\xff\xfe", b'{"event": "room_finished"}'], ids=repr)
async def test_what_is_signed_but_unreadable_is_400(receiver: Receiving, lines: list[EventDict], body: bytes) -> None:
    """A repeat would not cure it."""
    assert (await receiver.post(body)).status_code == 400
    assert story(lines)["outcome"] == "unreadable"


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""])
async def test_the_content_type_does_not_matter(receiver: Receiving, content_type: str) -> None:
    """The signature says what the body is."""
    assert (await receiver.post(JOIN, **{"content-type": content_type})).status_code == 200


async def test_a_body_at_the_limit_is_read(receiver: Receiving) -> None:
    """The limit is the largest body that is taken."""
    padding = LIMITS.max_body_bytes - len(body_of(message("participant_joined", padding="")))
    assert (await receiver.post(body_of(message("participant_joined", padding="x" * padding)))).status_code == 200


@pytest.mark.parametrize("framing", ["declared", "chunked"])
async def test_a_signed_body_past_the_limit_is_413(receiver: Receiving, lines: list[EventDict], framing: str) -> None:
    """Whether its size is told beforehand or found out."""
    token = token_of(JOIN, now_s=time.time())
    size = LIMITS.max_body_bytes + 1
    if framing == "declared":
        request = request_head(f"Authorization: {token}", f"Content-Length: {size}")
    else:
        request = request_head(f"Authorization: {token}", "Transfer-Encoding: chunked")
        request += b"%x\r\n" % size + b"x" * size + b"\r\n"
    assert (await receiver.raw(request)).startswith(b"HTTP/1.1 413 ")
    assert story(lines)["outcome"] == "too_large"


async def test_a_signed_body_that_never_ends_is_503(receiver: Receiving, lines: list[EventDict]) -> None:
    """Its token was good, so it is one of ours, and a repeat may come through."""
    token = token_of(JOIN, now_s=time.time())
    head = request_head(f"Authorization: {token}", f"Content-Length: {len(JOIN)}")
    answer = await receiver.raw(head + JOIN[:-1])
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in answer
    assert story(lines)["outcome"] == "too_slow"


async def test_a_sender_who_hangs_up_halfway_is_no_error(receiver: Receiving, lines: list[EventDict]) -> None:
    """It is told in the same line, and the next delivery is taken."""
    token = token_of(JOIN, now_s=time.time())
    _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    writer.write(request_head(f"Authorization: {token}", f"Content-Length: {len(JOIN)}") + JOIN[:-1])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await receiver.post(JOIN)).status_code == 200
    deadline = time.monotonic() + 20
    while not [line for line in lines if line.get("outcome") == "sender_gone"]:
        assert time.monotonic() < deadline, lines
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("size", [10_000_000_000, None], ids=["huge", "chunked for ever"])
async def test_a_strangers_body_is_not_even_read(receiver: Receiving, size: int | None) -> None:
    """401 comes while the body is still to come, and the connection is closed on the rest of it."""
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    answer = await receiver.raw(request_head("Authorization: a.b.c", framing))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


async def test_a_refused_small_body_leaves_the_connection_open(receiver: Receiving) -> None:
    """So that the answer is sure to arrive at a server that merely has the wrong key."""
    answer = await receiver.post(JOIN, authorization="garbage")
    assert (answer.status_code, "connection" in answer.headers) == (401, False)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"POST " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        request_head("Content-Length: -1"),
        request_head("Content-Length: 99999999999999999999999"),
        request_head("Content-Length: ten"),
        request_head("Content-Length: 5", "Transfer-Encoding: chunked") + b"zz\r\n",
        request_head("Authorization: \xff\xfe", "Content-Length: 0"),
        request_head("Authorization: " + "A" * 20_000, "Content-Length: 0"),
        request_head("Content-Length: 0", path=PATH + "/%00%ff"),
        request_head("Content-Length: 0", path="//livekit//webhook"),
    ],
    ids=lambda request_bytes: repr(request_bytes[:60]),
)
async def test_what_anybody_can_send_is_never_a_5xx(receiver: Receiving, request_bytes: bytes) -> None:
    """A stranger gets a refusal, or a closed connection, and the receiver goes on."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        answer = await receiver.raw(request_bytes + b"\r\n", within_s=0.5)
        assert answer.startswith(b"HTTP/1.1 4")
    assert (await receiver.post(JOIN)).status_code == 200


@pytest.mark.parametrize(
    ("body", "authorization"),
    [(b"", b"x"), (b"\xff" * 1000, b"a.b.c"), (JOIN, b"\xff"), (b"\x00", b"...."), (JOIN, b"e30.e30.e30")],
)
async def test_any_bytes_from_a_stranger_are_401(receiver: Receiving, body: bytes, authorization: bytes) -> None:
    """Whatever body and header he chooses, the answer is the same."""
    answer = await receiver.client.post(PATH, content=body, headers=[(b"authorization", authorization)])
    assert answer.status_code == 401


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_405(receiver: Receiving, method: str) -> None:
    """And says which one is allowed."""
    answer = await receiver.client.request(method, PATH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", [PATH + "/", "/", "/livekit", "/token", "/index.html", PATH.upper()])
async def test_another_path_is_404_and_never_a_redirect(receiver: Receiving, path: str) -> None:
    """LiveKit takes a redirect for success: the event would be lost without a word."""
    answer = await receiver.client.post(path, content=JOIN)
    assert answer.status_code == 404


async def test_an_unreachable_redis_is_503_with_retry_after(lines: list[EventDict]) -> None:
    """LiveKit repeats it a second later; the receiver was up all the while."""
    async with PoolClient.open(NO_SUCH_REDIS) as pool, receiving(pool) as receiver:
        answer = await receiver.post(JOIN)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert receiver.counted(event="participant_joined", outcome="pool_unreachable") == 1
    assert (story(lines)["outcome"], story(lines)["log_level"]) == ("pool_unreachable", "warning")


async def test_what_needs_no_pool_is_answered_without_it() -> None:
    """An ignored event is 204 and a forged one 401 while Redis is away."""
    async with PoolClient.open(NO_SUCH_REDIS) as pool, receiving(pool) as receiver:
        assert (await receiver.post(body_of(message("room_started")))).status_code == 204
        assert (await receiver.post(JOIN, authorization="x")).status_code == 401


async def test_an_opened_room_is_submitted_where_that_is_wanted(ledger: Ledger) -> None:
    """ROOMPOOL_PREPARE=room_started sends for the agent before anybody is in the room."""
    async with receiving(ledger, prepare="room_started") as receiver:
        assert (await receiver.post(body_of(message("room_started")))).status_code == 200
    assert [type(note) for note in ledger.notes] == [Opened]


async def test_a_bug_below_costs_one_delivery(lines: list[EventDict]) -> None:
    """It is a 503, for LiveKit to repeat, with a line that says what it was."""
    async with receiving(Ledger(failure=PoolUnreachable("ConnectionError"))) as receiver:
        assert (await receiver.post(JOIN)).status_code == 503
    lines.clear()
    failing = Ledger()
    async with receiving(failing) as receiver:
        failing._failure = KeyError("a bug")
        assert (await receiver.post(JOIN)).status_code == 503
        failing._failure = None
        assert (await receiver.post(JOIN)).status_code == 200
    assert [line["event"] for line in lines if line["event"].startswith("delivery")] == [
        "delivery_failed",
        "delivery",
        "delivery",
    ]


async def test_a_replay_and_a_shuffle_write_the_same(receiver: Receiving, ledger: Ledger) -> None:
    """The same delivery twice is the same note twice: room state goes by sids, not by counting."""
    token = token_of(JOIN, now_s=time.time())
    for _ in range(2):
        assert (await receiver.post(JOIN, authorization=token)).status_code == 200
    assert ledger.notes[0] == ledger.notes[1]


async def test_a_second_key_is_believed(ledger: Ledger) -> None:
    """Both signatures pass while a key is replaced, and a removed one does not."""
    body = body_of(message("room_finished"))
    token = token_of(body, now_s=time.time(), iss="newkey", secret="n" * 32)
    async with receiving(ledger, webhook_keys=f"newkey:{'n' * 32}") as receiver:
        assert (await receiver.post(body)).status_code == 200
        assert (await receiver.post(body, authorization=token)).status_code == 200
    async with receiving(ledger) as receiver:
        assert (await receiver.post(body, authorization=token)).status_code == 401


async def test_deliveries_are_counted_by_event_and_outcome(receiver: Receiving) -> None:
    """With few label values: what we never heard of is `other`, and what was not read is `none`."""
    await receiver.post(JOIN)
    for event in ("brand_new", "newer_still"):
        await receiver.post(body_of(message(event)))
    await receiver.post(JOIN, authorization="x")
    assert receiver.counted(event="participant_joined", outcome="accepted") == 1
    assert receiver.counted(event="other", outcome="ignored") == 2
    assert receiver.counted(event="none", outcome="bad_signature") == 1
    assert receiver.registry.get_sample_value("roompool_webhook_delivery_seconds_count") == 4


async def test_no_line_holds_a_secret(receiver: Receiving, lines: list[EventDict]) -> None:
    """Neither the body's nor ours nor a token, whatever goes wrong."""
    token = token_of(JOIN, now_s=time.time())
    await receiver.post(JOIN)
    await receiver.post(JOIN[:-1])
    await receiver.post(JOIN, authorization=token + "x")
    await receiver.post(body_of(message("room_finished", room={"creationTimeMs": TURN_PASSWORD})))
    said = repr(lines)
    assert len(lines) >= 4
    assert not [secret for secret in (TURN_PASSWORD, SECRET, token) if secret in said]


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [-2, -1], range(100, len(JOIN), 100)])
async def test_a_body_may_come_in_any_pieces(receiver: Receiving, ledger: Ledger, cuts: Sequence[int]) -> None:
    """However it is cut, it is one body: signed as a whole and read as a whole."""

    async def cut() -> AsyncIterator[bytes]:
        for begin, end in pairwise([0, *(at % len(JOIN) for at in cuts), len(JOIN)]):
            yield JOIN[begin:end]

    headers = {"authorization": token_of(JOIN, now_s=time.time())}
    assert (await receiver.client.post(PATH, content=cut(), headers=headers)).status_code == 200
    assert len(ledger.notes) == 1
