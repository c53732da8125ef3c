"""The sending half of the job queue: an arq job, and a token that wakes exactly one idle worker for it.

Only this file and `pool/wake.py` know arq. A lost, late or doubled job does no harm (room state decides),
so nothing here is unique, and a job that nobody took within a minute is worthless.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from arq.connections import ArqRedis

from pool.base.connections import ConnectionLimits, redis_connections
from pool.contract import DEFAULT_PREFIX, dump_job, load_job

JOB_LIFE_MS = 60_000
"""After that a wake-up has long been overtaken by the sweep and the reconciler."""

TOKENS_KEPT = 128
TOKEN_LIFE_MS = 10_000
"""Tokens that no worker waits for are dropped: the fallback poll finds their jobs within half a second."""

LIMITS = ConnectionLimits(connections=40, connect_s=1.0, answer_s=5.0)
"""Twenty jobs in flight, the blocked wait for a token, the poll, and room for a burst. An answer must be waited for
longer than the 2 s a worker blocks for a token. arq's own settings have no limit: half-open would hang its loop."""


@dataclass(frozen=True, slots=True)
class QueueNames:
    """The Redis keys of one queue."""

    queue: str
    wake: str
    set_aside: str
    """Raw jobs that no worker could run, newest first."""

    @classmethod
    def of(cls, prefix: str) -> Self:
        """The keys under a prefix; arq's own keys begin with `arq:` and carry a random job id, so they never meet."""
        return cls(queue=f"{prefix}queue", wake=f"{prefix}queue:wake", set_aside=f"{prefix}set_aside_jobs")


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
        job = await self._redis.enqueue_job(name, dict(payload))
        if job is None:  # arq says: a job of this id exists. A random id never does; the connection was lost meanwhile
            raise ConnectionError("lost while a job was queued")
        await push_token(self._redis, self._names.wake, job.job_id)


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
