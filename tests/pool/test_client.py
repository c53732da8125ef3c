"""The receiver's door into the pool, on a real Valkey: what a note leaves behind, and what it says when it cannot."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from deploy.local.valkey import Valkey
from pool.client import PoolClient, PoolUnreachable
from pool.contract import JOB_PARTICIPANT_JOINED, JOB_ROOM_FINISHED, Arrived, Finished, Heard, Left, Note, job_payload
from pool.journal import DecisionLog
from pool.queue import QueueNames
from pool.registry import Grant, Rested, Rooms, Standing
from pool.registry.connect import lease_redis
from tests.pool.workers import until

# Later than the data of any Redis here, which else would hold the room back for an owner that it may have forgotten.
CREATED_MS = int(time.time() * 1000) + 3_600_000
ARRIVED = Arrived("r", "RM_1", CREATED_MS, participant_sid="PA_1", joined_unix_ms=CREATED_MS + 500)
LEFT = Left(room="r", sid="RM_1", participant_sid="PA_1")
FINISHED = Finished(room="r", sid="RM_1")
HANGS_S = 30.0
"""Ten times what a submit may take: who waits longer waits for ever."""


@pytest.fixture
async def client(redis_url: str, redis_prefix: str) -> AsyncIterator[PoolClient]:
    async with PoolClient.open(redis_url, prefix=redis_prefix) as opened:
        yield opened


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    opened = lease_redis(redis_url)
    yield opened
    await opened.aclose()


@pytest.fixture
def rooms(redis: Redis, redis_prefix: str) -> Rooms:
    return Rooms(redis, prefix=redis_prefix)


@pytest.fixture
def names(redis_prefix: str) -> QueueNames:
    return QueueNames.of(redis_prefix)


async def jobs(redis: Redis) -> list[tuple[str, object]]:
    """Function and payload of every job in Redis."""
    found = []
    async for key in redis.scan_iter("arq:job:*"):
        job = json.loads(await redis.get(key))
        found.append((job["f"], job["a"][0]))
    return found


async def test_an_arrival_waits_in_room_state_and_wakes_a_worker(
    client: PoolClient, rooms: Rooms, redis: Redis, names: QueueNames
) -> None:
    """State first, then job and token."""
    await client.submit(ARRIVED)
    state = await rooms.look("r")
    assert state is not None
    assert state.standing is Standing.WAITING
    assert await jobs(redis) == [(JOB_PARTICIPANT_JOINED, job_payload(ARRIVED))]
    assert await redis.exists(names.wake, names.queue) == 2


async def test_an_arrival_in_a_room_that_has_its_agent_wakes_nobody(
    client: PoolClient, rooms: Rooms, redis: Redis
) -> None:
    """The owner sees the second caller itself."""
    await client.submit(ARRIVED)
    assert isinstance(await rooms.claim_next("c1", capacity=1), Grant)
    await client.submit(Arrived("r", "RM_1", CREATED_MS, participant_sid="PA_2", joined_unix_ms=CREATED_MS + 900))
    assert len(await jobs(redis)) == 1


async def test_an_arrival_in_a_rested_room_that_is_no_news_wakes_nobody(
    client: PoolClient, rooms: Rooms, redis: Redis
) -> None:
    """The agent has hung up; the same webhook again changes nothing."""
    await client.submit(ARRIVED)
    grant = await rooms.claim_next("c1", capacity=1)
    assert isinstance(grant, Grant)
    await rooms.release("c1", "r", grant.fence, Rested(served=grant.callers))
    await client.submit(ARRIVED)
    assert len(await jobs(redis)) == 1


async def test_an_end_wakes_a_worker_once(client: PoolClient, rooms: Rooms, redis: Redis) -> None:
    """The end of a known room is worth a job; that of a life nobody heard of is not."""
    await client.submit(ARRIVED)
    await client.submit(FINISHED)
    await client.submit(Finished(room="never seen", sid="RM_9"))
    assert sorted(name for name, _ in await jobs(redis)) == [JOB_PARTICIPANT_JOINED, JOB_ROOM_FINISHED]


async def test_a_leave_is_noted_without_a_job(client: PoolClient, rooms: Rooms, redis: Redis) -> None:
    """Whoever is in the room sees it."""
    await client.submit(ARRIVED)
    await client.submit(LEFT)
    state = await rooms.look("r")
    assert state is not None
    assert dict(state.callers) == {}
    assert len(await jobs(redis)) == 1


async def test_a_hundred_copies_at_once_are_one_waiting_room(client: PoolClient, rooms: Rooms) -> None:
    """Webhooks come twice and more; jobs are wake-ups, the room is one."""
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(client.submit(ARRIVED))
    assert [summary.callers for summary in await rooms.rooms()] == [1]


@pytest.mark.parametrize("note", [ARRIVED, LEFT, FINISHED], ids=["arrived", "left", "finished"])
async def test_without_redis_every_note_is_refused_in_time(note: Note, valkey: Valkey, redis_prefix: str) -> None:
    """Killed: within the limit of a submit."""
    async with PoolClient.open(valkey.url, prefix=redis_prefix) as client:
        await client.ping()
        valkey.kill()
        async with asyncio.timeout(HANGS_S):
            with pytest.raises(PoolUnreachable):
                await client.submit(note)


async def test_a_frozen_redis_is_unreachable_in_time(valkey: Valkey, redis_prefix: str) -> None:
    """It accepts and does not answer; thawed, it is reachable again."""
    async with PoolClient.open(valkey.url, prefix=redis_prefix) as client:
        await client.submit(LEFT)
        valkey.freeze()
        async with asyncio.timeout(HANGS_S):
            with pytest.raises(PoolUnreachable):
                await client.submit(ARRIVED)
            with pytest.raises(PoolUnreachable):
                await client.ping()
        valkey.thaw()
        await client.submit(ARRIVED)


@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "without its data"])
async def test_after_a_restart_the_next_note_is_taken(keep_data: bool, valkey: Valkey, redis_prefix: str) -> None:
    """The connections of before are replaced without an error."""
    async with PoolClient.open(valkey.url, prefix=redis_prefix) as client:
        await client.submit(LEFT)
        await valkey.restart(keep_data=keep_data)
        await client.submit(ARRIVED)


async def test_a_client_can_be_opened_before_redis_is_there(valkey: Valkey, redis_prefix: str) -> None:
    """The receiver starts in any order, and answers 503 until then."""
    valkey.kill()
    async with PoolClient.open(valkey.url, prefix=redis_prefix) as client:
        with pytest.raises(PoolUnreachable):
            await client.ping()
        await valkey.revive()
        await client.ping()


async def test_a_wrong_password_is_unreachable(redis_url: str) -> None:
    """Only an operator can cure it, and until then LiveKit may repeat."""
    _, _, server = redis_url.rpartition("@")
    async with PoolClient.open(f"redis://:wrong@{server}") as client:
        with pytest.raises(PoolUnreachable):
            await client.submit(ARRIVED)


async def test_a_replica_that_takes_no_writes_is_unreachable(valkey: Valkey, redis_prefix: str) -> None:
    """In the middle of a failover."""
    async with PoolClient.open(valkey.url, prefix=redis_prefix) as client:
        assert valkey.command("REPLICAOF", "127.0.0.1", "1") == "+OK"
        with pytest.raises(PoolUnreachable):
            await client.submit(ARRIVED)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param([("CONFIG", "SET", "min-replicas-to-write", "1")], id="too few replicas"),
        pytest.param(
            [("CONFIG", "SET", "replica-serve-stale-data", "no"), ("REPLICAOF", "127.0.0.1", "1")],
            id="a replica without its primary",
        ),
    ],
)
async def test_a_redis_that_refuses_is_unreachable(
    trouble: list[tuple[str, ...]], valkey: Valkey, redis_prefix: str
) -> None:
    """Error replies that redis-py has no class for."""
    async with PoolClient.open(valkey.url, prefix=redis_prefix) as client:
        await client.ping()
        assert [valkey.command(*words) for words in trouble] == ["+OK"] * len(trouble)
        with pytest.raises(PoolUnreachable):
            await client.submit(ARRIVED)


async def test_a_redis_that_is_busy_with_a_script_is_unreachable(valkey: Valkey, redis_prefix: str) -> None:
    """It answers a ping, too, with an error that has no class."""
    async with PoolClient.open(valkey.url, prefix=redis_prefix) as client:
        assert valkey.command("CONFIG", "SET", "busy-reply-threshold", "1") == "+OK"
        with pytest.raises(TimeoutError):
            valkey.command("EVAL", "while true do end", "0", timeout_s=0.1)
        with pytest.raises(PoolUnreachable, match="BUSY"):
            await client.ping()
        with pytest.raises(PoolUnreachable, match="BUSY"):
            await client.submit(ARRIVED)
        assert valkey.command("SCRIPT", "KILL") == "+OK"  # said at once; the script ends a little later

        async def is_free() -> bool:
            return valkey.is_ready()

        await until(is_free, "the script has ended")
        await client.submit(ARRIVED)


@asynccontextmanager
async def cut_before(command: str, redis_url: str) -> AsyncIterator[str]:
    """The address of a way to Redis that breaks off whenever a command comes along it."""
    there = urlsplit(redis_url)
    cut = f"${len(command)}\r\n{command}\r\n".encode()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while (chunk := await reader.read(65_536)) and cut not in chunk:
                writer.write(chunk)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection(there.hostname, there.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(pipe(reader, to_redis))
            group.create_task(pipe(from_redis, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield redis_url.replace(f":{there.port}/", f":{port}/")


@pytest.mark.parametrize("command", ["EXISTS", "EXEC"])
async def test_a_connection_lost_in_the_middle_of_a_job_is_unreachable(
    command: str, redis_url: str, redis_prefix: str, redis: Redis
) -> None:
    """While arq watches its key: the note is in room state, the job is not, and whoever submitted submits again."""
    async with cut_before(command, redis_url) as cut_url, PoolClient.open(cut_url, prefix=redis_prefix) as client:
        with pytest.raises(PoolUnreachable):
            await client.submit(ARRIVED)
    assert await jobs(redis) == []


@pytest.mark.parametrize("key", ["queue", "queue:wake"])
async def test_a_queue_of_another_type_is_replaced(
    key: str, client: PoolClient, redis: Redis, rooms: Rooms, redis_prefix: str
) -> None:
    """The receiver would otherwise answer 503 for ever: the stranger's key goes, counted, and the job is queued."""
    await redis.set(redis_prefix + key, "stranger")
    await client.submit(ARRIVED)
    assert await redis.zcard(f"{redis_prefix}queue") >= 1
    assert await redis.type(f"{redis_prefix}queue:wake") == "list"
    assert (await rooms.counters())["keys_rebuilt"] == 1


async def test_closing_leaves_no_connection(redis_url: str, redis_prefix: str, redis: Redis) -> None:
    """Both kinds are closed with the client."""
    async with PoolClient.open(redis_url, prefix=redis_prefix) as client:
        await client.submit(ARRIVED)
    assert len(await redis.client_list()) == 1


async def test_what_was_heard_becomes_part_of_the_story(client: PoolClient, redis: Redis, redis_prefix: str) -> None:
    """Under the prefix of all else."""
    assert await client.tell([Heard("r", "EV_1", "PA_1"), Heard("other", "EV_2", "PA_2", "room_not_wanted")])
    story = DecisionLog(redis, prefix=redis_prefix)
    assert [line.event for line in await story.read("r")] == ["webhook"]
    assert [line.event for line in await story.read("other")] == ["webhook_ignored"]


async def test_a_story_for_a_redis_that_is_away_is_lost_without_an_error() -> None:
    """No delivery depends on it."""
    async with PoolClient.open("redis://127.0.0.1:1/0") as away:
        assert not await away.tell([Heard("r", "EV_1", "PA_1")])
