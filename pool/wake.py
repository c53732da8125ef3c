"""The receiving half of the job queue: an arq worker that waits for wake-up tokens, rebuilt whenever Redis fails.

Only this file and `pool/queue.py` know arq. What of arq's inside is leaned on: `main`, `start_jobs`, `run_job`,
`_poll_iteration`, `job_counter`, `max_jobs`, `allow_pick_jobs`, `tasks`, `functions`, `health_check_key`,
`_release_sem_dec_counter_on_complete` (arq is pinned, and tests/pool/test_queue_wake.py fails when one of them moves).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, cast

import structlog
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.worker import Function, Worker, func
from redis.exceptions import RedisError, ResponseError

from pool.base.outage import outage_of
from pool.contract import DEFAULT_PREFIX, dump_job, load_job
from pool.jobs import JOBS, Job, SetAside, Wakeable, why_set_aside
from pool.queue import JOB_LIFE_MS, QueueNames, arq_redis, push_token, rebuild_keys

log = structlog.get_logger()

BLOCK_S = 2
"""How long one wait for a token lasts; below the socket's timeout."""

JOBS_IN_FLIGHT = 20
JOB_LIMIT_S = 10
CLOSE_LIMIT_S = 2.0
CANCEL_LIMIT_S = 0.5
REBUILD_FIRST_S, REBUILD_LAST_S = 0.2, 1.0

Popping = Awaitable[tuple[bytes, bytes] | None]
"""What BLPOP is on an asyncio client: key and token, or nothing in time. redis-py's own type covers both kinds."""

SET_ASIDE_KEPT = 100
SET_ASIDE_LIFE_S = 24 * 3600
SET_ASIDE_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class WakeOptions:
    """Whom wake workers work for, one after the other."""

    carrier: Wakeable
    carrier_id: str
    """Names the worker's health key."""
    has_room: Callable[[], bool]
    """Whether the carrier could take one more call."""
    room_made: asyncio.Event
    """Set by the carrier whenever `has_room` may have turned true; cleared by the worker."""
    on_set_aside: Callable[[SetAside], None]
    """Told of each queue entry that could not be run."""
    jobs: Mapping[str, Job] = field(default_factory=lambda: JOBS)


class WakeWorker(Worker):
    """arq's worker, started by tokens within milliseconds; its own poll every 0.5 s is the fallback.

    It takes jobs only while `has_room()` says so. An error of Redis ends it (arq leaks a slot at each one,
    so it must not go on); `run_wake_workers` builds the next.
    """

    def __init__(self, redis: ArqRedis, names: QueueNames, options: WakeOptions) -> None:
        """Prepare a worker; nothing is sent before `main`. `redis` is its own from now on, and closed with it."""
        super().__init__(
            [_observed(name, job) for name, job in options.jobs.items()],
            queue_name=names.queue,
            redis_pool=redis,
            ctx={"carrier": options.carrier},
            handle_signals=False,
            poll_delay=0.5,  # only the fallback
            max_jobs=JOBS_IN_FLIGHT,  # jobs at one time, not calls: slots limit those
            job_timeout=JOB_LIMIT_S,  # arq repeats a job of a dead worker 10 s after that; the sweep is faster
            keep_result=0,
            log_results=False,
            max_tries=1000,
            retry_jobs=True,
            expires_extra_ms=JOB_LIFE_MS,
            allow_abort_jobs=False,  # saves a round trip a poll, and an aborted job that is gone stays marked for ever
            health_check_interval=5,
            health_check_key=f"{names.queue}:health:{options.carrier_id}",
            job_serializer=dump_job,
            job_deserializer=load_job,
            on_startup=self._note_started,
        )
        self._redis = redis
        self._names = names
        self._has_room = options.has_room
        self._room_made = options.room_made
        self._on_set_aside = options.on_set_aside
        # The poll has begun: before that arq is not ready to start a job.
        self.started = asyncio.Event()

    @classmethod
    def connect(cls, redis_url: str, options: WakeOptions, *, prefix: str = DEFAULT_PREFIX) -> Self:
        """A worker with connections of its own: what `run_wake_workers` wants built each time."""
        names = QueueNames.of(prefix)
        return cls(arq_redis(redis_url, names), names, options)

    async def main(self) -> None:
        """Take jobs until cancelled. Raises an ExceptionGroup with whatever ended it.

        Begins with the keys themselves: whichever of them was of another type ended the worker before.
        """
        await rebuild_keys(self._redis, self._names)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_tokens(), name="wake_tokens")
            group.create_task(super().main(), name="wake_poll")

    async def close(self) -> None:
        """Let the jobs in flight end, else cancel them (arq repeats those elsewhere); then close the connections.

        Takes at most `CLOSE_LIMIT_S` and a second, also without Redis. Replaces arq's own, which waits without limit.
        """
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await _let_end(self.tasks.values())
                await self._redis.delete(self.health_check_key)
        except (RedisError, OSError):  # the latter includes TimeoutError
            log.debug("wake_worker_closed_hard", jobs_in_flight=len(self.tasks))
        finally:
            for task in self.tasks.values():
                task.cancel()
            with suppress(RedisError, OSError):
                async with asyncio.timeout(CANCEL_LIMIT_S):
                    await _let_end(self.tasks.values())
            with suppress(RedisError, OSError):
                async with asyncio.timeout(CANCEL_LIMIT_S):
                    await self._redis.aclose(close_connection_pool=True)
            self._pool = None

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start the jobs of these ids. A name that is no text would end arq's poll, again after every restart."""
        readable = []
        for job_id in job_ids:
            if _is_text(job_id):
                readable.append(job_id)
            else:
                await self._set_aside(job_id, b"", SetAside.WRONG_TYPE)
        await super().start_jobs(readable)

    async def run_job(self, job_id: str, score: int) -> None:
        """Run one queued job, or set it aside: no entry of the queue may end the worker or stay in its way.

        Errors of Redis itself do end the worker.
        """
        raw, reason = await self._inspect(job_id)
        if reason is not None:
            await self._set_aside(job_id.encode(), raw, reason)
            return
        try:
            await super().run_job(job_id, score)
        except Exception as error:
            if _is_of_redis(error):
                raise
            log.exception("job_broke_the_queue", job=job_id)
            await self._set_aside(job_id.encode(), raw, SetAside.BROKE_THE_QUEUE)

    async def _inspect(self, job_id: str) -> tuple[bytes, SetAside | None]:
        try:
            raw = await self._redis.get(job_key_prefix + job_id)
        except ResponseError as error:
            if _is_of_redis(error):
                raise
            return b"", SetAside.WRONG_TYPE
        if raw is None:
            return b"", SetAside.EXPIRED
        return raw, why_set_aside(raw, self.functions)

    async def _set_aside(self, job_id: bytes, raw: bytes, reason: SetAside) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.zrem(self._names.queue, job_id)
            prefixes = (job_key_prefix, retry_key_prefix, in_progress_key_prefix)
            pipe.delete(*[prefix.encode() + job_id for prefix in prefixes])
            if reason is not SetAside.EXPIRED:
                pipe.lpush(self._names.set_aside, f"{reason} ".encode() + raw[:SET_ASIDE_BYTES])
                pipe.ltrim(self._names.set_aside, 0, SET_ASIDE_KEPT - 1)
                pipe.expire(self._names.set_aside, SET_ASIDE_LIFE_S)
            await pipe.execute()
        self._on_set_aside(reason)
        log.warning("job_set_aside", reason=reason, job_bytes=len(raw))

    async def _note_started(self, ctx: dict[Any, Any]) -> None:
        self.started.set()

    async def _take_tokens(self) -> None:
        # A slot is leaked by arq when start_jobs raises, so its errors end this task and with it the worker.
        await self.started.wait()
        while True:
            await self._wait_for_room()
            popped = await cast(Popping, self._redis.blpop([self._names.wake], timeout=BLOCK_S))
            if popped is None:
                continue
            job_id = popped[1]
            if self._can_take():
                await self.start_jobs([job_id])
            else:  # the slots went meanwhile
                await push_token(self._redis, self._names.wake, job_id)

    async def _wait_for_room(self) -> None:
        while not self._can_take():
            self._room_made.clear()
            await self._room_made.wait()

    def _can_take(self) -> bool:
        return self.job_counter < self.max_jobs and self._has_room()

    async def _poll_iteration(self) -> None:
        self.allow_pick_jobs = self._can_take()
        if self.allow_pick_jobs:
            self._room_made.set()  # for reasons that pass unnoticed, such as a loop that is no longer late
        await super()._poll_iteration()

    def _release_sem_dec_counter_on_complete(self) -> None:
        super()._release_sem_dec_counter_on_complete()
        self._room_made.set()


async def run_wake_workers(
    build: Callable[[], WakeWorker], stop: asyncio.Event, *, on_restart: Callable[[], None] = lambda: None
) -> None:
    """Keep one wake worker running until `stop` is set; then take no more, let jobs in flight end, and return.

    Args:
        build: Makes the next worker, with fresh connections; called again after each failure of Redis.
        on_restart: Told of each such failure.

    Redis away for however long never ends this. Any other exception is a bug and is raised.
    """
    # arq would log every job, with its arguments, and every failure once more.
    logging.getLogger("arq").setLevel(logging.CRITICAL)
    pause_s = REBUILD_FIRST_S
    is_told = False
    while not stop.is_set():
        worker = build()
        try:
            await _run_until(worker, stop)
        except* (RedisError, OSError) as errors:
            on_restart()
            if worker.started.is_set():
                pause_s, is_told = REBUILD_FIRST_S, False
            if not is_told:  # once an outage; each attempt is counted
                log.warning("queue_lost_redis", error=_first_name(errors), cure="check REDIS_URL, and that Redis runs")
                is_told = True
            await _pause(pause_s, stop)
            pause_s = min(pause_s * 1.5, REBUILD_LAST_S)


async def _run_until(worker: WakeWorker, stop: asyncio.Event) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(worker.main(), name="wake_worker")
            await stop.wait()
            running.cancel()
    finally:
        await worker.close()


async def _pause(pause_s: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await stop.wait()


async def _let_end(tasks: Collection[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("job_ended_with_worker", error=type(error).__name__)


def _observed(name: str, job: Job) -> Function:
    async def run(ctx: Mapping[str, Any], payload: object) -> None:
        try:
            await job(ctx, payload)
        except (RedisError, OSError) as error:
            log.warning("job_failed", job=name, error=type(error).__name__)
            raise
        except Exception:
            log.exception("job_failed", job=name)
            raise

    return func(run, name=name)


def _is_of_redis(error: Exception) -> bool:
    """Whether Redis is in trouble, or its connection; any other error reply is about one key."""
    return outage_of(error) is not None or (isinstance(error, RedisError) and type(error) is not ResponseError)


def _is_text(job_id: bytes) -> bool:
    try:
        job_id.decode()
    except UnicodeDecodeError:
        return False
    return True


def _first_name(errors: BaseExceptionGroup[BaseException]) -> str:
    first = errors.exceptions[0]
    return _first_name(first) if isinstance(first, BaseExceptionGroup) else type(first).__name__
