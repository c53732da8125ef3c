"""How facts about rooms enter the pool: note them in room state, then wake a worker. The receiver's only door."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from pool.connections import lease_redis
from pool.contract import DEFAULT_PREFIX, Arrived, Finished, Left, Note, job_of, job_payload
from pool.queue import JobQueue
from pool.registry import Noted, Rooms

SUBMIT_LIMIT_S = 3.0
"""LiveKit sets no limit to an answer, and a room's next event waits for it; a repeat comes after a second."""

UNREACHABLE = (
    redis_errors.ConnectionError,  # refused, dropped, loading its data, wrong password
    redis_errors.TimeoutError,
    redis_errors.ReadOnlyError,  # a replica, in the middle of a failover
    redis_errors.ClusterDownError,  # its subclass: a replica without its primary
    redis_errors.OutOfMemoryError,
    redis_errors.NoPermissionError,
    OSError,  # includes the built-in TimeoutError of our own limit
)
"""What a repeat may cure, or an operator; anything else is a bug."""


class PoolUnreachable(Exception):
    """Redis cannot be reached or does not take writes. Nobody's fault who asks: try again."""


class PoolClient:
    """Submits notes. Safe to use from many tasks at once."""

    def __init__(self, redis: Redis, rooms: Rooms, queue: JobQueue) -> None:
        self._redis = redis
        self._rooms = rooms
        self._queue = queue

    @classmethod
    @asynccontextmanager
    async def open(cls, redis_url: str, *, prefix: str = DEFAULT_PREFIX) -> AsyncIterator[Self]:
        """A client with connections of its own, closed at the end.

        Connects at the first command, so that the receiver starts, and answers 503, while Redis is away.
        """
        redis = lease_redis(redis_url)
        try:
            async with JobQueue.open(redis_url, prefix=prefix) as queue:
                yield cls(redis, Rooms(redis, prefix=prefix), queue)
        finally:
            await redis.aclose()

    async def submit(self, note: Note) -> None:
        """Make a note part of room state and, if somebody should act on it, wake a worker.

        Returns only when both are in Redis. A note without its job (Redis failed in between, or we were cancelled)
        does no harm: the sweep finds the room, and whoever submitted hears an error and submits again.

        Raises:
            PoolUnreachable: within 3 s; the note may or may not have been taken.
        """
        with _reached():
            async with asyncio.timeout(SUBMIT_LIMIT_S):
                noted = await self._rooms.note(note)
                await self._wake_for(note, noted)

    async def ping(self) -> None:
        """Raises PoolUnreachable unless Redis answers."""
        with _reached():
            await self._redis.ping()

    async def _wake_for(self, note: Note, noted: Noted) -> None:
        job = job_of(note)
        if job is None or isinstance(note, Left):
            return
        if _is_worth_a_job(note, noted):
            await self._queue.enqueue(job, job_payload(note))


def _is_worth_a_job(note: Arrived | Finished, noted: Noted) -> bool:
    # A caller in a room that is owned, rested or over needs no worker; the end of a room is always worth a look.
    return isinstance(note, Finished) or noted is Noted.WAITING


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except UNREACHABLE as error:
        raise PoolUnreachable(type(error).__name__) from error
