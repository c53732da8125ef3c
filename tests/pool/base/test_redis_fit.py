"""`pool.base.redis_fit`: which Redis is refused, with which words, and what becomes of one that comes later."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Unreachable
from structlog.testing import capture_logs

from deploy.local.ports import free_port
from deploy.local.valkey import Valkey
from pool.base.errors import SettingsInvalid
from pool.base.redis_fit import NO_ANSWER, Fitness, ServerFacts, facts_in, facts_of, problems_of
from pool.base.sentinels import UnknownService
from pool.registry.connect import lease_redis
from tests.peers.unfit_redis import ClusterValkey

GOOD = ServerFacts(version=(7, 0), is_cluster=False, is_replica=False, eviction="noeviction")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (GOOD, []),
        (ServerFacts(), []),
        (ServerFacts(version=(6, 2)), []),
        (ServerFacts(version=(10, 0)), []),
        (ServerFacts(version=(6, 0)), ["Redis 6.0, older"]),
        (ServerFacts(is_cluster=True), ["Redis Cluster"]),
        (ServerFacts(is_replica=True), ["a replica"]),
        (ServerFacts(eviction="allkeys-lru"), ["maxmemory-policy allkeys-lru"]),
        (ServerFacts(eviction="volatile-ttl"), ["maxmemory-policy volatile-ttl"]),
        (ServerFacts((5, 0), True, True, "allkeys-lfu"), ["Redis Cluster", "a replica", "Redis 5.0", "allkeys-lfu"]),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(facts: ServerFacts, words: list[str]) -> None:
    """A line for each fault, which names the variable; what a server will not tell is not held against it."""
    problems = problems_of(facts)
    assert len(problems) == len(words)
    for problem, word in zip(problems, words, strict=True):
        assert problem.startswith("REDIS_URL: ")
        assert word in problem
        assert " Cure: " in problem


@pytest.mark.parametrize(
    ("info", "facts"),
    [
        ({}, ServerFacts()),
        ({"redis_version": "7.2.4"}, ServerFacts(version=(7, 2))),
        ({"redis_version": "255.255.255"}, ServerFacts(version=(255, 255))),
        ({"redis_version": "unstable"}, ServerFacts()),
        ({"redis_version": 7.2}, ServerFacts(version=(7, 2))),
        ({"role": "slave", "cluster_enabled": 1}, ServerFacts(is_cluster=True, is_replica=True)),
        ({"role": "master", "cluster_enabled": 0}, ServerFacts(is_cluster=False, is_replica=False)),
    ],
)
def test_a_server_may_leave_lines_out(info: dict[str, object], facts: ServerFacts) -> None:
    """Managed servers do."""
    assert facts_in(info) == facts


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    client = lease_redis(valkey.url)
    yield client
    await client.aclose()


async def test_a_fresh_server_is_fit(redis: Redis) -> None:
    """A Valkey as it comes."""
    facts = await facts_of(redis)
    assert facts.version is not None
    assert facts.eviction == "noeviction"
    assert problems_of(facts) == ()
    await Fitness(redis).require()


def evicting(valkey: Valkey) -> None:
    assert valkey.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == "+OK"


def following(valkey: Valkey) -> None:
    assert valkey.command("REPLICAOF", "127.0.0.1", str(free_port())) == "+OK"


@pytest.mark.parametrize(("spoil", "word"), [(evicting, "allkeys-lru"), (following, "a replica")])
async def test_an_unfit_server_is_refused_at_start(
    spoil: Callable[[Valkey], None], word: str, valkey: Valkey, redis: Redis
) -> None:
    """Asked of a real one."""
    spoil(valkey)
    with pytest.raises(SettingsInvalid, match=word):
        await Fitness(redis).require()


async def test_a_cluster_is_refused_at_start() -> None:
    """Also one that has no slots yet."""
    async with ClusterValkey(append_only=False) as server:
        client = lease_redis(server.url)
        with pytest.raises(SettingsInvalid, match="Redis Cluster"):
            await Fitness(client).require()
        await client.aclose()


@pytest.mark.parametrize(
    ("rules", "is_told"),
    [
        (["-config"], True),
        (["-info"], True),
        (["-config", "-info"], False),
        (["-@dangerous"], False),
    ],
)
async def test_what_a_managed_redis_hides(rules: list[str], is_told: bool, valkey: Valkey, redis: Redis) -> None:
    """The policy is known from INFO or else from CONFIG; with neither we go on, and say so once."""
    evicting(valkey)
    assert valkey.command("ACL", "SETUSER", "default", *rules) == "+OK"
    fitness = Fitness(redis)
    if is_told:
        with pytest.raises(SettingsInvalid, match="allkeys-lru"):
            await fitness.require()
        return
    with capture_logs() as logs:
        await fitness.require()
        await fitness.look()
    assert [line["event"] for line in logs] == ["redis_keeps_its_policy_secret"]
    assert fitness.trouble is None


async def test_one_that_does_not_answer_is_not_refused() -> None:
    """It may come. Until then nobody is ready."""
    client = lease_redis(f"redis://127.0.0.1:{free_port()}/0")
    fitness = Fitness(client)
    await fitness.require()
    assert fitness.trouble == NO_ANSWER
    await client.aclose()


async def test_one_that_comes_later_is_looked_at_then(valkey: Valkey, redis: Redis) -> None:
    """Whoever waits goes on when it is found fit."""
    valkey.kill()
    fitness = Fitness(redis)
    await fitness.require()
    with capture_logs() as logs:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            waiting = group.create_task(fitness.until_fit(asyncio.Event()))
            await valkey.revive()
            await waiting
    assert fitness.trouble is None
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["redis_awaited", "redis_found"]


async def test_one_that_comes_later_and_is_unfit_is_told_once_and_may_be_mended(valkey: Valkey, redis: Redis) -> None:
    """The words of the refusal stand in an error line and in the reason; mended, it is taken."""
    evicting(valkey)
    seen: asyncio.Queue[ServerFacts] = asyncio.Queue(maxsize=10)

    async def see(client: Redis) -> ServerFacts:
        facts = await facts_of(client)
        seen.put_nowait(facts)
        return facts

    fitness = Fitness(redis, see=see)
    with capture_logs() as logs:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(fitness.until_fit(asyncio.Event()))
            for _ in range(2):
                await seen.get()
            assert "allkeys-lru" in (fitness.trouble or "")
            assert valkey.command("CONFIG", "SET", "maxmemory-policy", "noeviction") == "+OK"
    assert [line["event"] for line in logs] == ["redis_unfit", "redis_found"]
    assert "allkeys-lru" in str(logs[0]["problem"])
    assert fitness.trouble is None


async def test_who_is_told_to_stop_does_not_wait(redis: Redis) -> None:
    """A worker may be drained before it has ever seen Redis."""

    async def away(_redis: Redis) -> ServerFacts:
        raise Unreachable

    stop = asyncio.Event()
    fitness = Fitness(redis, see=away)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(fitness.until_fit(stop))
        stop.set()
    assert fitness.trouble == NO_ANSWER


async def test_a_service_that_no_sentinel_knows_is_refused(redis: Redis) -> None:
    """The sentinels answer: it is the name that is wrong."""

    async def unknown(_redis: Redis) -> ServerFacts:
        raise UnknownService

    with pytest.raises(SettingsInvalid, match="watch no service of that name"):
        await Fitness(redis, see=unknown).require()


async def test_a_fit_server_is_not_asked_again(redis: Redis) -> None:
    """What it becomes later is for those who watch it."""
    asked = []

    async def see(_redis: Redis) -> ServerFacts:
        asked.append(1)
        return GOOD

    fitness = Fitness(redis, see=see)
    for _ in range(3):
        await fitness.look()
    assert asked == [1]
