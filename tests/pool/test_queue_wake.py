"""The queue's two halves on a real Valkey: what wakes a worker, what it sets aside, what it survives."""

import asyncio
import inspect
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import pytest
from arq.worker import Worker
from redis.asyncio import Redis

from deploy.local.valkey import Valkey
from pool.contract import (
    DEFAULT_PREFIX,
    JOB_PARTICIPANT_JOINED,
    JOB_ROOM_FINISHED,
    JOB_VERSION,
    Arrived,
    Finished,
    job_payload,
)
from pool.jobs import JOBS, Job, SetAside
from pool.queue import JobQueue, QueueNames, arq_redis
from pool.wake import SET_ASIDE_KEPT, WakeOptions, WakeWorker, run_wake_workers

ARRIVED = Arrived(room="r", sid="RM_1", created_unix_ms=1, participant_sid="PA_1", joined_unix_ms=2)
FINISHED = Finished(room="r", sid="RM_1")


class OnlyTokens(WakeWorker):
    """A worker whose fallback poll finds nothing."""

    async def _poll_iteration(self) -> None:
        await self.heart_beat()


class OnlyPoll(WakeWorker):
    """A worker that never looks for a token."""

    async def _take_tokens(self) -> None:
        await asyncio.Event().wait()


@dataclass
class Carrying:
    """A carrier that notes what its jobs asked of it, and the running worker beside it."""

    redis_url: str
    prefix: str
    kind: type[WakeWorker] = WakeWorker
    jobs: Mapping[str, Job] = field(default_factory=lambda: JOBS)
    slots: int = 1
    asked: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(maxsize=1000))
    room_made: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    set_aside: list[SetAside] = field(default_factory=list)
    restarts: int = 0
    workers: list[WakeWorker] = field(default_factory=list)

    async def wake(self) -> None:
        self.asked.put_nowait("wake")

    async def room_finished(self, room: str) -> None:
        self.asked.put_nowait(f"finished {room}")

    async def next_asked(self, within_s: float = 10.0) -> str:
        async with asyncio.timeout(within_s):
            return await self.asked.get()

    @property
    def worker(self) -> WakeWorker:
        return self.workers[-1]

    def build(self) -> WakeWorker:
        options = WakeOptions(
            carrier=self,
            carrier_id="c1",
            has_room=lambda: self.slots > 0 and not self.stop.is_set(),
            room_made=self.room_made,
            on_set_aside=self.set_aside.append,
            jobs=self.jobs,
        )
        self.workers.append(self.kind.connect(self.redis_url, options, prefix=self.prefix))
        return self.worker

    def count_restart(self) -> None:
        self.restarts += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Carrying"]:
        """The worker, started; at the end stopped, and gone within its limit."""
        async with asyncio.timeout(50), asyncio.TaskGroup() as group:
            group.create_task(run_wake_workers(self.build, self.stop, on_restart=self.count_restart))
            await until(lambda: bool(self.workers))
            await self.worker.started.wait()
            yield self
            self.stop.set()


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    """Wait until the condition holds, or fail."""
    async with asyncio.timeout(within_s):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def queue(redis_url: str, redis_prefix: str) -> AsyncIterator[JobQueue]:
    async with JobQueue.open(redis_url, prefix=redis_prefix) as opened:
        yield opened


@pytest.fixture
def names(redis_prefix: str) -> QueueNames:
    return QueueNames.of(redis_prefix)


async def enqueue(queue: JobQueue) -> None:
    await queue.enqueue(JOB_PARTICIPANT_JOINED, job_payload(ARRIVED))


def unix_ms() -> int:
    return int(time.time() * 1000)


def body(**changes: object) -> bytes:
    """A job as arq stores it, with fields changed."""
    job: dict[str, object] = {
        "t": None,
        "f": JOB_PARTICIPANT_JOINED,
        "a": [job_payload(ARRIVED)],
        "k": {},
        "et": unix_ms(),
    }
    return json.dumps(job | changes).encode()


async def is_idle(redis: Redis, names: QueueNames) -> bool:
    """Whether nothing is queued, running or stored any more."""
    keys = [key async for key in redis.scan_iter("arq:*")]
    return not keys and await redis.zcard(names.queue) == 0


def test_the_keys_of_the_queue_are_those_of_every_release() -> None:
    """Receiver and workers of any release meet in the same keys."""
    names = QueueNames.of(DEFAULT_PREFIX)
    assert (names.queue, names.wake) == ("roompool:queue", "roompool:queue:wake")


async def test_a_token_wakes_an_idle_worker(redis_url: str, redis_prefix: str, queue: JobQueue) -> None:
    """A worker whose poll finds nothing still runs the job: the token alone brought it there."""
    async with Carrying(redis_url, redis_prefix, kind=OnlyTokens).running() as carrying:
        await enqueue(queue)
        assert await carrying.next_asked() == "wake"


async def test_room_finished_reaches_the_carrier_with_the_rooms_name(
    redis_url: str, redis_prefix: str, queue: JobQueue
) -> None:
    """The second kind of job carries its room."""
    async with Carrying(redis_url, redis_prefix).running() as carrying:
        await queue.enqueue(JOB_ROOM_FINISHED, job_payload(FINISHED))
        assert await carrying.next_asked() == "finished r"


async def test_a_job_whose_token_was_lost_is_found_by_the_poll(
    redis_url: str, redis_prefix: str, queue: JobQueue
) -> None:
    """A worker that never looks for tokens still runs the job."""
    async with Carrying(redis_url, redis_prefix, kind=OnlyPoll).running() as carrying:
        await enqueue(queue)
        assert await carrying.next_asked() == "wake"


async def test_a_job_leaves_nothing_behind(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis, names: QueueNames
) -> None:
    """Neither body, nor result, nor try count, nor queue entry stays."""
    async with Carrying(redis_url, redis_prefix).running() as carrying:
        await enqueue(queue)
        await carrying.next_asked()
        await until(lambda: is_idle(redis, names))


async def test_tokens_are_bounded_and_vanish(queue: JobQueue, redis: Redis, names: QueueNames) -> None:
    """Without a worker at most 128 tokens pile up, and only for 10 s."""
    for _ in range(130):
        await enqueue(queue)
    assert await got(redis.llen(names.wake)) == 128
    assert 0 < await redis.pttl(names.wake) <= 10_000
    assert await redis.zcard(names.queue) == 130


async def test_a_full_carrier_takes_no_job_until_room_is_made(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis, names: QueueNames
) -> None:
    """Full, it neither waits for tokens nor polls; the carrier's event lets it go on."""
    async with Carrying(redis_url, redis_prefix, slots=0).running() as carrying:
        await enqueue(queue)
        beats = carrying.worker.health_check_key
        await until(lambda: _exists(redis, beats))  # it polled at least once
        assert (await redis.info("clients"))["blocked_clients"] == 0
        assert await got(redis.llen(names.wake)) == 1
        assert carrying.asked.empty()
        carrying.slots = 1
        carrying.room_made.set()
        assert await carrying.next_asked() == "wake"


async def test_room_made_without_a_word_is_noticed_by_the_poll(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis
) -> None:
    """A refusal may pass by itself (a late loop): the next poll begins to wait for tokens again."""
    async with Carrying(redis_url, redis_prefix, slots=0).running() as carrying:
        beats = carrying.worker.health_check_key
        await until(lambda: _exists(redis, beats))
        carrying.slots = 1
        await until(lambda: _blocked(redis, 1))


async def test_a_token_that_met_a_carrier_just_filled_is_given_back(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis, names: QueueNames
) -> None:
    """Slots that went while it waited: the token returns to the list for another carrier."""
    async with Carrying(redis_url, redis_prefix, kind=OnlyTokens).running() as carrying:
        await until(lambda: _blocked(redis, 1))
        carrying.slots = 0
        await enqueue(queue)  # the blocked worker has popped the token before this returns
        await until(lambda: _length(redis, names.wake, 1))
        assert carrying.asked.empty()
        assert await redis.pttl(names.wake) > 0


async def got(command: Awaitable[Any] | Any) -> Any:
    """The answer to a command; redis-py's types leave open whether it comes from the client for threads."""
    return await command


async def _exists(redis: Redis, key: str) -> bool:
    return bool(await redis.exists(key))


async def _length(redis: Redis, key: str, length: int) -> bool:
    return int(await got(redis.llen(key))) == length


async def _blocked(redis: Redis, count: int) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"] == count)


NOT_JOBS = [
    pytest.param(b"\x80\x04\x95garbage", SetAside.MALFORMED, id="bytes that are no JSON"),
    pytest.param(b"", SetAside.MALFORMED, id="nothing"),
    pytest.param(b"[1, 2]", SetAside.MALFORMED, id="a list"),
    pytest.param(b"[" * 100_000, SetAside.MALFORMED, id="too deep"),
    pytest.param(b'{"f": "participant_joined"}', SetAside.MALFORMED, id="fields missing"),
    pytest.param(body(f=["participant_joined"]), SetAside.MALFORMED, id="function is a list"),
    pytest.param(body(f="rm"), SetAside.UNKNOWN_FUNCTION, id="unknown function"),
    pytest.param(body(t="three"), SetAside.MALFORMED, id="try is text"),
    pytest.param(body(et="now"), SetAside.MALFORMED, id="time is text"),
    pytest.param(body(et=10**30), SetAside.MALFORMED, id="time beyond dates"),
    pytest.param(body(k={"ctx": 1}), SetAside.MALFORMED, id="keyword arguments"),
    pytest.param(body(a=7), SetAside.MALFORMED, id="arguments are a number"),
    pytest.param(body(a=[]), SetAside.MALFORMED, id="no payload"),
    pytest.param(body(a=["r"]), SetAside.MALFORMED, id="payload is text"),
    pytest.param(body(a=[{"v": JOB_VERSION}]), SetAside.MALFORMED, id="payload names no room"),
    pytest.param(body(a=[{"v": JOB_VERSION + 1, "room": "r"}]), SetAside.NEWER_VERSION, id="newer version"),
    pytest.param(body(a=[{"v": 0, "room": "r"}]), SetAside.MALFORMED, id="version never made"),
]


@pytest.mark.parametrize(("raw", "reason"), NOT_JOBS)
async def test_an_entry_that_is_no_job_is_set_aside_and_the_next_one_runs(
    raw: bytes, reason: SetAside, redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis, names: QueueNames
) -> None:
    """It is counted with its reason and kept, it leaves the queue, and the worker is not even restarted."""
    await redis.set("arq:job:bad", raw)
    await redis.zadd(names.queue, {"bad": 1})
    async with Carrying(redis_url, redis_prefix).running() as carrying:
        await until(lambda: carrying.set_aside == [reason])
        assert await got(redis.lrange(names.set_aside, 0, -1)) == [f"{reason} ".encode() + raw[:16_384]]
        await enqueue(queue)
        assert await carrying.next_asked() == "wake"
        await until(lambda: is_idle(redis, names))
        assert carrying.restarts == 0


async def test_keys_of_the_wrong_kind_are_set_aside(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis, names: QueueNames
) -> None:
    """A body that is a list, a try count that is one, and a name that is no text stop nobody."""
    await got(redis.rpush("arq:job:list", "x"))
    await redis.set("arq:job:tries", body())
    await got(redis.rpush("arq:retry:tries", "x"))
    await redis.zadd(names.queue, {b"list": 1, b"tries": 2, b"\xff\xfe": 3})
    async with Carrying(redis_url, redis_prefix).running() as carrying:
        await until(lambda: len(carrying.set_aside) == 3)
        assert sorted(carrying.set_aside) == [SetAside.BROKE_THE_QUEUE, SetAside.WRONG_TYPE, SetAside.WRONG_TYPE]
        await enqueue(queue)
        assert await carrying.next_asked() == "wake"
        await until(lambda: is_idle(redis, names))
        assert carrying.restarts == 0


@pytest.mark.parametrize("key", ["queue", "queue:wake", "set_aside_jobs"])
async def test_a_key_of_another_type_is_replaced_while_a_worker_runs(
    key: str, redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis
) -> None:
    """The worker it ends is the last: the next one drops the key, counts that, and takes the next job."""
    async with Carrying(redis_url, redis_prefix).running() as carrying:
        await until(lambda: _blocked(redis, 1))
        async with redis.pipeline(transaction=True) as pipe:
            pipe.delete(redis_prefix + key)
            pipe.hset(redis_prefix + key, "a", "stranger's")
            await pipe.execute()
        await redis.set("arq:job:bad", b"?")  # to be set aside, for which the third of these keys is needed
        await got(redis.eval(f"redis.pcall('ZADD', '{redis_prefix}queue', 1, 'bad')", 0))
        await enqueue(queue)
        assert await carrying.next_asked() == "wake"
        await until(lambda: _rebuilt(redis, redis_prefix))


async def _rebuilt(redis: Redis, prefix: str) -> bool:
    return bool(await got(redis.hget(f"{prefix}counters", "keys_rebuilt")) == b"1")


async def test_a_job_nobody_took_in_time_is_dropped_and_counted(
    redis_url: str, redis_prefix: str, redis: Redis, names: QueueNames
) -> None:
    """The entry of an expired body goes, without a place in the list."""
    await redis.zadd(names.queue, {"gone": 1})
    async with Carrying(redis_url, redis_prefix).running() as carrying:
        await until(lambda: carrying.set_aside == [SetAside.EXPIRED])
        assert not await redis.exists(names.set_aside)
        assert await is_idle(redis, names)


async def test_what_was_set_aside_is_bounded(
    redis_url: str, redis_prefix: str, redis: Redis, names: QueueNames
) -> None:
    """The newest hundred are kept, for a day."""
    for number in range(SET_ASIDE_KEPT + 5):
        await redis.set(f"arq:job:{number}", b"?")
        await redis.zadd(names.queue, {str(number): number + 1})
    async with Carrying(redis_url, redis_prefix).running() as carrying:
        await until(lambda: len(carrying.set_aside) == SET_ASIDE_KEPT + 5)
        assert await got(redis.llen(names.set_aside)) == SET_ASIDE_KEPT
        assert 0 < await redis.ttl(names.set_aside) <= 24 * 3600


async def test_a_job_that_raises_is_gone_and_the_next_one_runs(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis, names: QueueNames
) -> None:
    """A bug in a job ends that job alone; it is not tried again for ever."""

    async def bug(ctx: Mapping[str, Any], payload: object) -> None:
        raise ZeroDivisionError

    jobs = {**JOBS, JOB_ROOM_FINISHED: bug}
    async with Carrying(redis_url, redis_prefix, jobs=jobs).running() as carrying:
        await queue.enqueue(JOB_ROOM_FINISHED, job_payload(FINISHED))
        await enqueue(queue)
        assert await carrying.next_asked() == "wake"
        await until(lambda: is_idle(redis, names))
        assert (carrying.restarts, carrying.set_aside) == (0, [])


async def test_killed_connections_rebuild_an_idle_worker(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis
) -> None:
    """Redis dropped every connection: the next worker takes the next job, and by a token."""
    async with Carrying(redis_url, redis_prefix, kind=OnlyTokens).running() as carrying:
        await until(lambda: _blocked(redis, 1))
        await redis.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: carrying.restarts >= 1 and len(carrying.workers) >= 2)
        await enqueue(queue)
        assert await carrying.next_asked() == "wake"


@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "without its data"])
async def test_a_restarted_redis_gets_a_new_worker(keep_data: bool, valkey: Valkey, redis_prefix: str) -> None:
    """Redis was away and came back: the loop outlived it and the next job runs."""
    async with Carrying(valkey.url, redis_prefix).running() as carrying:
        valkey.kill()
        await until(lambda: len(carrying.workers) >= 3)  # it kept on trying while nobody answered
        await valkey.revive(keep_data=keep_data)
        async with JobQueue.open(valkey.url, prefix=redis_prefix) as queue:
            await enqueue(queue)
            assert await carrying.next_asked() == "wake"


async def test_a_stopped_worker_leaves_jobs_connections_and_health_key_behind_for_nobody(
    redis_url: str,
    redis_prefix: str,
    queue: JobQueue,
    redis: Redis,
    names: QueueNames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After stop, which waits for nothing: no connection, no health key, and a job enqueued then stays for another."""
    monkeypatch.setattr("pool.wake.CLOSE_LIMIT_S", 3600.0)
    carrying = Carrying(redis_url, redis_prefix)
    async with carrying.running():
        await until(lambda: _exists(redis, carrying.worker.health_check_key))
    await enqueue(queue)
    assert not await redis.exists(carrying.worker.health_check_key)
    assert await _blocked(redis, 0)
    assert await redis.zcard(names.queue) == 1
    assert await got(redis.llen(names.wake)) == 1
    assert carrying.asked.empty()


async def test_a_job_in_flight_ends_before_a_stopped_worker_does(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis, names: QueueNames
) -> None:
    """Stop does not cancel a claim that is on its way."""
    running, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(ctx: Mapping[str, Any], payload: object) -> None:
        running.set()
        await go_on.wait()
        ended.set()

    jobs = {**JOBS, JOB_PARTICIPANT_JOINED: slow}
    async with Carrying(redis_url, redis_prefix, jobs=jobs).running() as carrying:
        await enqueue(queue)
        await running.wait()
        carrying.stop.set()
        await until(lambda: _blocked(redis, 0))
        go_on.set()
    assert ended.is_set()
    assert await is_idle(redis, names)


async def test_a_job_that_never_ends_does_not_hold_up_the_stop(
    redis_url: str, redis_prefix: str, queue: JobQueue, redis: Redis, names: QueueNames
) -> None:
    """It is cancelled after the limit, and its entry stays in the queue for another worker."""
    running = asyncio.Event()

    async def endless(ctx: Mapping[str, Any], payload: object) -> None:
        running.set()
        await asyncio.Event().wait()

    jobs = {**JOBS, JOB_PARTICIPANT_JOINED: endless}
    async with Carrying(redis_url, redis_prefix, jobs=jobs).running():
        await enqueue(queue)
        await running.wait()
    assert await redis.zcard(names.queue) == 1
    assert await redis.keys("arq:in-progress:*") == []


async def test_a_bug_in_the_loop_is_not_taken_for_an_outage(redis_url: str, redis_prefix: str) -> None:
    """Anything but Redis trouble comes out, so that the process ends and its leases go to others."""

    def has_room() -> bool:
        raise ZeroDivisionError

    def build() -> WakeWorker:
        carrier = Carrying(redis_url, redis_prefix)
        options = WakeOptions(carrier, "c1", has_room, asyncio.Event(), on_set_aside=lambda reason: None)
        return WakeWorker.connect(redis_url, options, prefix=redis_prefix)

    with pytest.raises(ExceptionGroup) as caught:
        await run_wake_workers(build, asyncio.Event())
    assert caught.group_contains(ZeroDivisionError)


async def test_jobs_are_json(queue: JobQueue, redis: Redis) -> None:
    """Whoever can write to Redis cannot make a worker unpickle it."""
    await enqueue(queue)
    (key,) = await redis.keys("arq:job:*")
    assert json.loads(await redis.get(key))["a"] == [job_payload(ARRIVED)]
    assert 0 < await redis.pttl(key) <= 60_000


async def test_arq_is_quiet(
    redis_url: str, redis_prefix: str, queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """arq's own lines hold arguments and exception texts: none of them is logged."""
    caplog.set_level(logging.DEBUG)
    async with Carrying(redis_url, redis_prefix).running() as carrying:
        await enqueue(queue)
        await carrying.next_asked()
    assert [record.name for record in caplog.records if record.name.startswith("arq")] == []


def test_arq_is_the_release_whose_inside_we_lean_on(redis_url: str) -> None:
    """A new arq must be read before it is taken: these names are no public interface."""
    assert version("arq") == "0.28.0"
    methods = ["main", "start_jobs", "run_job", "_poll_iteration", "_release_sem_dec_counter_on_complete", "close"]
    assert all(callable(getattr(Worker, name)) for name in methods)
    assert list(inspect.signature(Worker.run_job).parameters) == ["self", "job_id", "score"]
    assert list(inspect.signature(Worker.start_jobs).parameters) == ["self", "job_ids"]


async def test_arqs_attributes_we_lean_on_are_there(redis_url: str, redis_prefix: str) -> None:
    """Of the same kind as above, on an instance."""
    redis = arq_redis(redis_url, QueueNames.of(redis_prefix))
    worker = Worker([_nothing], queue_name=None, redis_pool=redis, handle_signals=False)
    assert (worker.job_counter, worker.max_jobs, worker.allow_pick_jobs, worker.tasks) == (0, 10, True, {})
    assert worker._pool is redis
    assert worker.functions.keys() == {"_nothing"}
    assert worker.health_check_key.startswith(redis_prefix)
    await redis.aclose()


async def _nothing(ctx: dict[Any, Any]) -> None:
    """A function for arq to know."""
