"""Those who stand between the parts: what they pass on, and what they do to it when they are told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from deploy.local.chaos import webhook_proxy
from deploy.local.chaos.tcp_proxy import TcpProxy
from deploy.local.chaos.webhook_proxy import DeliveryFault, WebhookProxy

LIMIT_S = 10.0
ANSWER = b"HTTP/1.1 503 Service Unavailable\r\nX-Mark: yes\r\nContent-Length: 3\r\n\r\nno!"


def delivery(text: str) -> bytes:
    return (
        f"POST /hook HTTP/1.1\r\nHost: here\r\nAuthorization: abc\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
    )


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[int, "asyncio.Queue[bytes]"]]:
    """Takes one delivery a connection, keeps it as it came, and refuses it with an answer of its own."""
    took: asyncio.Queue[bytes] = asyncio.Queue(100)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = await reader.readuntil(b"\r\n\r\n")
        length = int(raw.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        took.put_nowait(raw + await reader.readexactly(length))
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], took
    finally:
        server.close()


Post = Callable[[bytes], Awaitable[bytes]]


@asynccontextmanager
async def posting(url: str) -> AsyncIterator[Post]:
    """One connection that posts several deliveries, as LiveKit does."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def post(raw: bytes) -> bytes:
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await reader.readexactly(length)

    try:
        yield post
    finally:
        writer.close()


@asynccontextmanager
async def proxied(fault: DeliveryFault) -> AsyncIterator[tuple[WebhookProxy, Post, "asyncio.Queue[bytes]"]]:
    async with asyncio.timeout(LIMIT_S), receiver() as (port, took), WebhookProxy.open() as proxy:
        url = proxy.route(f"http://127.0.0.1:{port}/hook")
        assert url.endswith("/hook")
        proxy.fault = fault
        async with posting(url) as post:
            yield proxy, post, took


async def test_a_delivery_and_its_answer_pass_unchanged() -> None:
    """Byte for byte both ways, several over one connection: signatures are over bytes."""
    async with proxied(DeliveryFault.NONE) as (proxy, post, took):
        for text in ("one", "two"):
            assert await post(delivery(text)) == ANSWER
            assert await took.get() == delivery(text)
        assert proxy.taken == 0


async def test_a_lost_delivery_is_accepted_and_never_arrives() -> None:
    """Refused, it would be repeated."""
    async with proxied(DeliveryFault.LOSE) as (proxy, post, took):
        assert (await post(delivery("one"))).startswith(b"HTTP/1.1 200")
        assert proxy.taken == 1
        proxy.fault = DeliveryFault.NONE
        await post(delivery("two"))
        assert await took.get() == delivery("two")


async def test_a_doubled_delivery_arrives_twice() -> None:
    """One after the other."""
    async with proxied(DeliveryFault.DUPLICATE) as (_, post, took):
        await post(delivery("one"))
        assert [await took.get(), await took.get()] == [delivery("one")] * 2


async def test_late_deliveries_arrive_late_in_their_order() -> None:
    """They are accepted at once; whoever wants to know when the last has arrived can ask."""
    async with proxied(DeliveryFault.DELAY) as (proxy, post, took):
        proxy.delay_s = 0.3
        for text in ("one", "two"):
            assert (await post(delivery(text))).startswith(b"HTTP/1.1 200")
        assert took.empty()
        assert not await proxy.has_nothing_left()
        assert [await took.get(), await took.get()] == [delivery("one"), delivery("two")]


async def test_deliveries_turned_round_arrive_in_the_opposite_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that came within the time of one collection."""
    monkeypatch.setattr(webhook_proxy, "REORDERED_WITHIN_S", 0.3)
    async with proxied(DeliveryFault.REORDER) as (_, post, took):
        for text in ("one", "two", "three"):
            await post(delivery(text))
        assert [await took.get() for _ in range(3)] == [delivery(text) for text in ("three", "two", "one")]


async def test_a_tcp_proxy_that_holds_passes_nothing_and_ends_nothing() -> None:
    """As in a network that broke in the middle: silence both ways, and what was sent arrives when it is whole again."""
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while chunk := await reader.read(100):
                writer.write(chunk)
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with TcpProxy.to("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"before")
            assert await reader.readexactly(6) == b"before"
            proxy.hold()
            writer.write(b"during")
            waiting = group.create_task(reader.readexactly(6))
            done, _ = await asyncio.wait([waiting], timeout=0.3)
            assert not done
            proxy.let_go()
            assert await waiting == b"during"
            writer.close()
        server.close()
