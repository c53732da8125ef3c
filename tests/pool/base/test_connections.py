"""One way to Redis for both kinds of clients, over every kind of address."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from deploy.local.valkey import Valkey
from pool.base.connections import ConnectionLimits, redis_connections
from pool.base.loops import loop_factory
from pool.client import PoolClient
from pool.contract import Arrived
from pool.registry.connect import lease_redis

LIMITS = ConnectionLimits(connections=3, connect_s=1.0, answer_s=2.0)


class ValkeyAtAPath(Valkey):
    """A Valkey that also listens on a path."""

    @property
    def path_url(self) -> str:
        _, _, secret = self.url.partition("//")
        return f"unix://{secret.partition('@')[0]}@{self._path}?db=0"

    @property
    def _path(self) -> Path:
        return self.run_dir / "valkey.sock"

    def _argv(self) -> list[str]:
        binary, config = super()._argv()
        with Path(config).open("a") as more:
            more.write(f"unixsocket {self._path}\n")
        return [binary, config]


@pytest.fixture
async def path_url() -> AsyncIterator[str]:
    async with ValkeyAtAPath() as server:
        yield server.path_url


async def test_a_path_serves_room_state_and_queue(path_url: str) -> None:
    """A note and its job go the same way as over TCP."""
    async with PoolClient.open(path_url) as client:
        await client.ping()
        await client.submit(Arrived("r", "RM_1", 1, participant_sid="PA_1", joined_unix_ms=2))
    redis = lease_redis(path_url)
    assert [key.partition(":")[0] for key in sorted(await redis.keys("*"))].count("arq") == 1
    assert await redis.exists("roompool:room:r", "roompool:queue") == 2
    await redis.aclose()


@pytest.mark.parametrize("url", ["redis://localhost/0", "rediss://localhost/0", "unix:///nowhere/redis.sock"])
def test_waits_are_bounded_over_every_kind_of_address(url: str) -> None:
    """Connections, answers and their number have limits; TLS checks the name of the host."""
    pool = redis_connections(url, LIMITS, health_check_interval=7)
    options = pool.connection_kwargs

    assert (pool.max_connections, pool.timeout) == (3, 1.0)
    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (1.0, 2.0)
    assert options["health_check_interval"] == 7
    assert options.get("ssl_check_hostname", False) is url.startswith("rediss")
    assert options.get("socket_keepalive", False) is not url.startswith("unix")


async def test_further_options_reach_the_connection(path_url: str) -> None:
    """Here: answers come as text."""
    redis = Redis.from_pool(redis_connections(path_url, LIMITS, decode_responses=True))
    await redis.set("name", "räume")
    assert await redis.get("name") == "räume"
    await redis.aclose()


@pytest.mark.parametrize("way", ["a port", "a path"])
async def test_no_cancellation_is_lost(way: str, redis_url: str, path_url: str) -> None:
    """A task busy with Redis ends by one cancellation, whenever it comes; the next task gets its own answers."""
    redis = Redis.from_pool(
        redis_connections(redis_url if way == "a port" else path_url, LIMITS, decode_responses=True)
    )

    async def busy(number: int) -> None:
        while await redis.echo(f"{number}") == f"{number}":
            pass

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            task = group.create_task(busy(number), name=f"busy_{number}")
            async with asyncio.timeout(20):
                for _ in range(random.randrange(5, 60)):  # rounds of the loop, so that it comes at any step
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            assert task.cancelled()
    await redis.aclose()


@pytest.mark.parametrize("is_fast", [True, False], ids=["uvloop", "asyncio"])
def test_a_connection_that_is_closed_is_one_error_on_every_loop(redis_url: str, *, is_fast: bool) -> None:
    """uvloop has an error of its own for a send over it, which nobody looks out for: a carrier ended by it."""

    async def send_over_a_closed_one() -> None:
        pool = redis_connections(redis_url, LIMITS)
        connection = await pool.get_connection()
        connection._writer.transport.abort()  # as the loop does when the server closes
        await asyncio.sleep(0)
        with pytest.raises(RedisConnectionError):
            await connection.send_command("GET", "a")
            await connection.read_response()
        await pool.aclose()

    with asyncio.Runner(loop_factory=loop_factory(is_fast=is_fast)) as runner:
        runner.run(send_over_a_closed_one())
