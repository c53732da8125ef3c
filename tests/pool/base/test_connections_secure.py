"""`rediss://` to a real redis-server: whose certificate is believed, and what is told of one that is not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as Unreachable

from pool.base.connections import UrlInvalid
from pool.client import PoolClient, PoolUnreachable
from pool.contract import Arrived
from pool.registry.connect import lease_redis
from tests.peers.redis_server import Certificates, SecureRedis, certificates

pytestmark = pytest.mark.redis_server


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For 127.0.0.1 and localhost."""
    return certificates(tmp_path_factory.mktemp("signed"))


@pytest.fixture
async def server(redis_server: Path, signed: Certificates, tmp_path: Path) -> AsyncIterator[SecureRedis]:
    async with SecureRedis(tmp_path / "redis", program=redis_server, shown=signed) as started:
        yield started


async def ping(url: str) -> bool:
    redis = lease_redis(url)
    try:
        return bool(await redis.ping())
    finally:
        await redis.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_that_the_authority_vouches_for_is_believed(
    host: str, server: SecureRedis, signed: Certificates
) -> None:
    """Under any name that its certificate has."""
    assert await ping(server.secure_url(host=host, query=f"ssl_ca_certs={signed.authority}"))


async def test_a_server_of_an_unknown_authority_is_not_believed(server: SecureRedis) -> None:
    """Without the authority's certificate that of the server is worth nothing."""
    with pytest.raises(Unreachable):
        await ping(server.secure_url())


async def test_a_certificate_for_another_name_is_not_believed(redis_server: Path, tmp_path: Path) -> None:
    """redis-py alone would take it: it does not look at the name unless told to."""
    other = certificates(tmp_path / "other", names="DNS:redis.example.org")
    async with SecureRedis(tmp_path / "redis", program=redis_server, shown=other) as server:
        with pytest.raises(Unreachable):
            await ping(server.secure_url(query=f"ssl_ca_certs={other.authority}"))


async def test_who_asks_for_no_check_has_none(server: SecureRedis) -> None:
    """As redis-py words it. It is said in the URL, for everybody to see."""
    assert await ping(server.secure_url(query="ssl_cert_reqs=none"))


async def test_room_state_and_queue_go_through_tls(server: SecureRedis, signed: Certificates) -> None:
    """Both kinds of clients; nothing of what they know leaks into the plain port."""
    async with PoolClient.open(server.secure_url(query=f"ssl_ca_certs={signed.authority}")) as client:
        await client.require_fit()
        await client.submit(Arrived("r", "RM_1", 1, participant_sid="PA_1", joined_unix_ms=2))
        await client.ping()
    assert server.command("EXISTS", "roompool:room:r", "roompool:queue") == ":2"


async def test_a_plain_client_of_a_secure_port_hears_so_in_time(server: SecureRedis) -> None:
    """And so does a secure client of a plain port: neither waits for an answer that never comes."""
    swapped = [
        server.secure_url().replace("rediss://", "redis://"),
        server.url.replace("redis://", "rediss://"),
    ]
    for url in swapped:
        async with asyncio.timeout(20), PoolClient.open(url) as client:
            with pytest.raises(PoolUnreachable):
                await client.ping()


def no_such_file(_folder: Path) -> str:
    return "ssl_ca_certs=/nowhere/ca.pem"


def no_certificate(folder: Path) -> str:
    (folder / "ca.pem").write_text("hello")
    return f"ssl_ca_certs={folder / 'ca.pem'}"


def no_such_option(_folder: Path) -> str:
    return "ssl_ca_cert=/etc/ssl/redis.pem"


def no_such_word(_folder: Path) -> str:
    return "ssl_cert_reqs=sometimes"


@pytest.mark.parametrize("spoil", [no_such_file, no_certificate, no_such_option, no_such_word])
def test_what_cannot_be_is_said_at_start(spoil: Callable[[Path], str], tmp_path: Path) -> None:
    """Not once a second for ever, as if the server were away."""
    with pytest.raises(UrlInvalid, match=r"^REDIS_URL: .* Cure: ") as caught:
        lease_redis(f"rediss://:hush@127.0.0.1/0?{spoil(tmp_path)}")
    assert "hush" not in str(caught.value)


async def test_certificates_are_read_once_a_pool(server: SecureRedis, signed: Certificates) -> None:
    """Not from the disk, in the loop, at each connection."""
    redis = lease_redis(server.secure_url(query=f"ssl_ca_certs={signed.authority}"))
    contexts = set()

    async def hold() -> None:
        connection = await redis.connection_pool.get_connection()
        contexts.add(id(connection.ssl_context.get()))
        await everybody()
        await redis.connection_pool.release(connection)

    everybody = _meeting_of(3)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(hold())
    assert len(contexts) == 1
    await redis.aclose()


def _meeting_of(number: int) -> Callable[[], Awaitable[None]]:
    """A wait that ends when so many are in it."""
    here, all_here = [], asyncio.Event()

    async def come() -> None:
        here.append(1)
        if len(here) == number:
            all_here.set()
        await all_here.wait()

    return come
