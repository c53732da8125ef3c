"""The sending half of the job queue: an arq job, and a token that wakes exactly one idle worker for it.

Only this file and `pool/wake.py` know arq. A lost, late or doubled job does no harm (room state decides),
so nothing here is unique, and a job that nobody took within a minute is worthless.

Somebody's key of another type where one of the queue's belongs would fail every job, for ever: it is dropped, as room
state's are, and loudly. What was queued is found again by the sweep.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, cast

import structlog
from arq.connections import ArqRedis
from redis.exceptions import ResponseError

from pool.base.connections import ConnectionLimits, redis_connections
from pool.base.outage import fault_of
from pool.contract import DEFAULT_PREFIX, dump_job, load_job

log = structlog.get_logger()

WRONG_TYPE = "WRONGTYPE"

JOB_LIFE_MS = 60_000
"""After that a wake-up has long been overtaken by the sweep and the reconciler."""

TOKENS_KEPT = 128
TOKEN_LIFE_MS = 10_000
"""Tokens that no worker waits for are dropped: the fallback poll finds their jobs within half a second."""

LIMITS = ConnectionLimits(connections=40, connect_s=1.0, answer_s=5.0)
"""Twenty jobs in flight, the blocked wait for a token, the poll, and room for a burst. An answer must be waited for
longer than the 2 s a worker blocks for a token. arq's own settings have no limit: half-open would hang its loop."""

REBUILD = """
local dropped = {}
for index = 2, #ARGV, 2 do
  local found = redis.call('TYPE', ARGV[index]).ok
  if found ~= ARGV[index + 1] and found ~= 'none' then
    redis.call('DEL', ARGV[index])
    redis.pcall('HINCRBY', ARGV[1], 'keys_rebuilt', 1)
    dropped[#dropped + 1] = { ARGV[index], found }
  end
end
return dropped
"""
"""Arguments: the key of the counters, then pairs of a key and the type that it must have. Answers what was dropped."""


@dataclass(frozen=True, slots=True)
class QueueNames:
    """The Redis keys of one queue."""

    queue: str
    wake: str
    set_aside: str
    """Raw jobs that no worker could run, newest first."""
    counters: str
    """Room state's, which `roompool ps` shows."""

    @classmethod
    def of(cls, prefix: str) -> Self:
        """The keys under a prefix; arq's own keys begin with `arq:` and carry a random job id, so they never meet."""
        return cls(
            queue=f"{prefix}queue",
            wake=f"{prefix}queue:wake",
            set_aside=f"{prefix}set_aside_jobs",
            counters=f"{prefix}counters",
        )


class JobQueue:
    """Enqueues jobs. Raises redis-py's exceptions and OSError as they come; the caller maps them."""

    def __init__(self, redis: ArqRedis, names: QueueNames) -> None:
        self._redis = redis
        self._names = names

    @classmethod
    @asynccontextmanager
    async def open(cls, redis_url: str, *, prefix: str = DEFAULT_PREFIX) -> AsyncIterator[Self]:
        """A queue with connections of its own, closed at the end. Connects at the first job."""
        names = QueueNames.of(prefix)
        redis = arq_redis(redis_url, names)
        try:
            yield cls(redis, names)
        finally:
            await redis.aclose(close_connection_pool=True)

    async def enqueue(self, name: str, payload: Mapping[str, object]) -> None:
        """Put a job into the queue and wake one worker for it.

        Cancelled or failed half-way, the job may be queued without its token: it then waits for the fallback poll.
        """
        try:
            await self._enqueue(name, payload)
        except ResponseError as error:
            if fault_of(error) != WRONG_TYPE or not await rebuild_keys(self._redis, self._names):
                raise
            await self._enqueue(name, payload)

    async def _enqueue(self, name: str, payload: Mapping[str, object]) -> None:
        job = await self._redis.enqueue_job(name, dict(payload))
        if job is None:  # arq says: a job of this id exists. A random id never does; the connection was lost meanwhile
            raise ConnectionError("lost while a job was queued")
        await push_token(self._redis, self._names.wake, job.job_id)


async def rebuild_keys(redis: ArqRedis, names: QueueNames) -> bool:
    """Drop what stands where a key of the queue belongs and is of another type; whether there was any such key."""
    kinds = [names.queue, "zset", names.wake, "list", names.set_aside, "list"]
    execute = cast(Callable[..., Awaitable[Any]], redis.execute_command)  # redis-py leaves it untyped
    dropped = await execute("EVAL", REBUILD, 0, names.counters, *kinds)
    for key, found in dropped:
        log.error("key_rebuilt", key=key.decode(), was=found.decode(), cure="find out who else writes to this Redis")
    return bool(dropped)


async def push_token(redis: ArqRedis, wake_key: str, job_id: str | bytes) -> None:
    """Add a wake-up token for a queued job; the list stays bounded and vanishes when nobody reads it."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.rpush(wake_key, job_id)
        pipe.ltrim(wake_key, -TOKENS_KEPT, -1)
        pipe.pexpire(wake_key, TOKEN_LIFE_MS)
        await pipe.execute()


def arq_redis(redis_url: str, names: QueueNames) -> ArqRedis:
    """arq's client with our timeouts, and with JSON instead of pickle. Connects at the first command."""
    redis = ArqRedis(
        pool_or_conn=redis_connections(redis_url, LIMITS, health_check_interval=15),
        job_serializer=dump_job,
        job_deserializer=load_job,
        default_queue_name=names.queue,
        expires_extra_ms=JOB_LIFE_MS,
    )
    # redis-py closes a pool it was handed only when told that it owns it.
    redis.auto_close_connection_pool = True
    return redis
