"""Connections that sentinels lead to the primary: real redis-servers, real sentinels, real failovers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import TimeoutError as TooLate

from deploy.local.ports import free_port
from deploy.local.sentinel import SERVICE, RedisNode, SentinelSet
from deploy.local.valkey import Valkey
from pool.base.connections import ConnectionLimits, redis_connections
from pool.base.errors import SettingsInvalid
from pool.base.redis_fit import Fitness
from pool.base.sentinels import ASK_LIMIT_S, Named, NoPrimary, NotPrimary, UnknownService, latest
from pool.registry.connect import LIMITS, lease_redis
from tests.peers.redis_server import Certificates, SecureRedis, certificates

pytestmark = pytest.mark.redis_server

FAILOVER_S = 20.0
"""It takes some two; the machine may be busy."""


@given(st.lists(st.builds(Named, st.tuples(st.sampled_from("ab"), st.just(1)), st.integers(0, 9)), max_size=5))
def test_the_word_of_the_latest_failover_counts(named: list[Named]) -> None:
    """A sentinel that was cut off before it names the primary of then."""
    primary = latest(named)
    assert (primary is None) == (not named)
    assert primary is None or any(one.primary == primary and one.epoch == max(n.epoch for n in named) for one in named)


@pytest.fixture
async def redis(sentinels: SentinelSet) -> AsyncIterator[Redis]:
    client = lease_redis(sentinels.url)
    yield client
    await client.aclose()


async def until_answered(command: Callable[[], Awaitable[Any]], within_s: float = FAILOVER_S) -> Any:
    """Repeat a command until Redis takes it; every other error than an outage fails the test."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                return await command()
            except (Unreachable, TooLate):
                await asyncio.sleep(0.05)


async def test_commands_go_to_the_primary(standing_sentinels: SentinelSet) -> None:
    """The replica hears of them by replication alone."""
    redis = lease_redis(standing_sentinels.url)
    assert await redis.set("a", "1")
    assert (await redis.role())[0] == "master"
    await standing_sentinels.in_step()
    await Fitness(redis).require()
    await redis.aclose()


async def test_a_killed_primary_is_replaced(sentinels: SentinelSet, redis: Redis) -> None:
    """The same client goes on with the next one, and with what was replicated."""
    await redis.set("a", "1")
    await sentinels.in_step()
    was = sentinels.master_port
    sentinels.kill_master()
    await until_answered(lambda: redis.set("b", "2"))
    assert await sentinels.failed_over(from_port=was) != was
    assert await redis.mget("a", "b") == ["1", "2"]


async def test_one_failover_after_the_other_is_followed(sentinels: SentinelSet, redis: Redis) -> None:
    """Back and forth, with what was written in between."""
    for _ in range(2):
        await until_answered(lambda: redis.incr("count"))
        await sentinels.in_step()
        was = sentinels.master_port
        sentinels.kill_master()
        await sentinels.failed_over(from_port=was, within_s=FAILOVER_S)
        await sentinels.mend()
    assert await until_answered(lambda: redis.get("count")) == "2"


async def test_a_primary_deposed_while_it_was_frozen_gets_no_more_writes(sentinels: SentinelSet, redis: Redis) -> None:
    """It wakes up as a primary, for some seconds, with connections of ours that look well: none of them is used."""
    await held_at_once(redis, 3)  # connections wait in the pool from now on
    was = sentinels.master_port
    old = sentinels.freeze_master()
    await sentinels.failed_over(from_port=was, within_s=FAILOVER_S)
    old.thaw()
    assert old.ask("ROLE")[0] == "master"
    await asyncio.sleep(0)
    for number in range(5):
        assert await until_answered(lambda number=number: redis.set(f"late-{number}", "1"))  # type: ignore[misc]
    assert old.ask("EXISTS", *[f"late-{number}" for number in range(5)]) == 0


async def test_a_planned_failover_ends_every_connection_to_the_old_primary(
    sentinels: SentinelSet, redis: Redis
) -> None:
    """Demoted, it still answers: no write is lost on it and none raises anything but an outage."""
    await held_at_once(redis, 3)
    was = sentinels.master_port
    await sentinels.in_step()
    await asyncio.to_thread(sentinels.sentinels[0].ask, "SENTINEL", "FAILOVER", SERVICE)
    written = 0
    async with asyncio.timeout(FAILOVER_S):
        while sentinels.master_port == was or written < 200:
            await until_answered(lambda: redis.incr("count"))
            written += 1
    assert int(await redis.get("count")) <= written
    assert (await redis.role())[0] == "master"
    await sentinels.failed_over(from_port=was)


async def test_one_sentinel_is_enough(sentinels: SentinelSet, redis: Redis) -> None:
    """Two that are gone, and one of them in front, are passed over in the same command."""
    for sentinel in sentinels.sentinels[:2]:
        sentinel.kill()
    assert await redis.set("a", "1")


async def test_sentinels_that_do_not_answer_are_waited_for_shortly(sentinels: SentinelSet, redis: Redis) -> None:
    """Frozen, they take connections and say nothing; the client that knows the primary stays with it."""
    assert await redis.set("a", "1")
    for sentinel in sentinels.sentinels:
        sentinel.freeze()
    async with asyncio.timeout(10):
        began_at = time.monotonic()
        while time.monotonic() - began_at < 2.5:  # past the time for which their word is taken
            assert await redis.get("a") == "1"
    stranger = lease_redis(sentinels.url)
    with pytest.raises(NoPrimary):
        await stranger.ping()
    await stranger.aclose()
    for sentinel in sentinels.sentinels:
        sentinel.thaw()


async def test_many_who_ask_at_once_wait_once(sentinels: SentinelSet) -> None:
    """Sentinels that say nothing cost everybody the same half second, not one after the other."""
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    client = lease_redis(sentinels.url)

    async def ask() -> None:
        with pytest.raises(NoPrimary):
            await client.ping()

    async with asyncio.timeout(60 * ASK_LIMIT_S), asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(ask())
    await client.aclose()


async def test_connections_are_bounded_and_waited_for(standing_sentinels: SentinelSet) -> None:
    """As with one server: who finds all of them busy waits for one, and not for ever."""
    limits = ConnectionLimits(connections=2, connect_s=0.3, answer_s=1.0)
    client = Redis.from_pool(redis_connections(standing_sentinels.url, limits))
    assert client.connection_pool.max_connections == 2
    held = [await client.connection_pool.get_connection() for _ in range(2)]
    with pytest.raises(Unreachable, match="No connection available"):
        await client.ping()
    for connection in held:
        await client.connection_pool.release(connection)
    assert await client.ping()
    await client.aclose()


async def test_a_service_that_none_of_them_watches_is_a_matter_of_settings(standing_sentinels: SentinelSet) -> None:
    """They answer: waiting would not help."""
    client = lease_redis(standing_sentinels.url.replace(f"/{SERVICE}/", "/other/"))
    with pytest.raises(UnknownService):
        await client.ping()
    with pytest.raises(SettingsInvalid, match="no service of that name"):
        await Fitness(client).require()
    await client.aclose()


@pytest.mark.parametrize("password", ["", "?sentinel_password=wrong"], ids=["without", "a wrong one"])
async def test_sentinels_want_their_password(password: str, standing_sentinels: SentinelSet) -> None:
    """The servers' is none of theirs."""
    client = lease_redis(standing_sentinels.url.partition("?")[0] + password)
    with pytest.raises(NoPrimary):
        await client.ping()
    await client.aclose()


async def test_a_sentinel_may_tell_the_address_alone(sentinels: SentinelSet, redis: Redis) -> None:
    """Of a user with the least rights we learn where the primary is, and not by which failover."""
    for sentinel in sentinels.sentinels:
        assert sentinel.ask("ACL", "SETUSER", "default", "-sentinel|master") == "OK"
    assert await redis.ping()


async def test_a_server_that_became_a_replica_is_left(tmp_path: Path, redis_server: Path) -> None:
    """Also where one address is all we have, such as a name that a failover points elsewhere: each connection to it
    is dropped with the write that it refused."""
    async with RedisNode(tmp_path / "redis", password="word") as node:
        client = lease_redis(node.url)
        await held_at_once(client, 1)
        node.ask("REPLICAOF", "127.0.0.1", str(free_port()))
        writes: tuple[Callable[[], Any], ...] = (
            lambda: client.set("a", "1"),
            lambda: client.execute_command("EVAL", "return redis.call('SET', 'a', '1')", 0),  # type: ignore[no-untyped-call]
        )
        for write in writes:
            assert connections(node) == 1
            with pytest.raises(NotPrimary):
                await write()
            await until(lambda: connections(node) == 0)
            await client.ping()
        await client.aclose()


def connections(node: RedisNode) -> int:
    """How many there are to a server, apart from the one that asks."""
    return len(node.ask("CLIENT", "LIST", "TYPE", "normal").splitlines()) - 1


async def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until the server has noticed, too."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - it is another process that notices
            await asyncio.sleep(0.02)


async def held_at_once(client: Redis, number: int) -> None:
    """Make so many connections, and leave them in the pool."""
    held = [await client.connection_pool.get_connection() for _ in range(number)]
    for connection in held:
        await client.connection_pool.release(connection)


class SecureSentinel(Valkey):
    """A sentinel that is reached through TLS, and reaches its server so."""

    def __init__(self, run_dir: Path, *, watched: SecureRedis, shown: Certificates, program: Path) -> None:
        super().__init__(run_dir, append_only=False)
        self._watched, self._shown, self._program = watched, shown, program
        self.secure_port = free_port()

    @property
    def secure_url(self) -> str:
        servers = self._watched.secure_url().partition("://")[2].partition("@")[0]
        query = f"sentinel_password={self._password}&ssl_ca_certs={self._shown.authority}"
        return f"rediss+sentinel://{servers}@127.0.0.1:{self.secure_port}/{SERVICE}?{query}"

    def _argv(self) -> list[str]:
        config = self.run_dir / "sentinel.conf"
        lines = [
            f"port {self.port}",
            f"tls-port {self.secure_port}",
            f'tls-cert-file "{self._shown.certificate}"',
            f'tls-key-file "{self._shown.key}"',
            f'tls-ca-cert-file "{self._shown.authority}"',
            "tls-auth-clients no",
            "tls-replication yes",
            f'dir "{self.run_dir}"',
            f"requirepass {self._password}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._watched.secure_port} 1",
            f"sentinel auth-pass {SERVICE} {self._watched.password}",
        ]
        config.write_text("\n".join(["bind 127.0.0.1", *lines]) + "\n")
        return [str(self._program), str(config), "--sentinel"]


async def test_servers_and_sentinels_are_reached_through_tls(redis_server: Path, tmp_path: Path) -> None:
    """With the one authority, and the check of names, for both."""
    shown = certificates(tmp_path / "signed")
    async with (
        SecureRedis(tmp_path / "redis", program=redis_server, shown=shown) as server,
        SecureSentinel(tmp_path / "sentinel", watched=server, shown=shown, program=redis_server) as sentinel,
    ):
        client = lease_redis(sentinel.secure_url)
        assert await client.set("a", "1")
        assert server.command("EXISTS", "a") == ":1"
        await client.aclose()
        strict = lease_redis(sentinel.secure_url.partition("&ssl_ca_certs")[0])
        with pytest.raises(NoPrimary):
            await strict.ping()
        await strict.aclose()


def test_leases_keep_their_limits() -> None:
    """The pool is one of ours: as bounded as any other."""
    pool = lease_redis("redis+sentinel://:word@a,b/calls").connection_pool
    assert isinstance(pool, BlockingConnectionPool)
    options = pool.connection_kwargs
    assert (pool.max_connections, pool.timeout) == (LIMITS.connections, LIMITS.connect_s)
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (LIMITS.answer_s, LIMITS.connect_s)
    assert options["socket_keepalive"]
