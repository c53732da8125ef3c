"""How facts about rooms enter the pool: note them in room state, then wake a worker. The receiver's only door."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pool.base.outage import fault_of
from pool.base.redis_fit import Fitness
from pool.contract import DEFAULT_PREFIX, Heard, Note, job_of
from pool.journal import DecisionLog
from pool.queue import JobQueue
from pool.registry import Noted, Rooms
from pool.registry.connect import lease_redis

SUBMIT_LIMIT_S = 3.0
"""LiveKit sets no limit to an answer, and a room's next event waits for it; a repeat comes after a second."""

WORTH_A_JOB = frozenset({Noted.WAITING, Noted.CLOSED})
"""A room that waits, and one whose life ended just now. An owned or rested one needs nobody, nor does old news."""


class PoolUnreachable(Exception):
    """Redis cannot be reached, does not take writes, or refused this one. Nobody's fault who asks: try again.

    Its text is the reason, in a word for the log.
    """


class PoolUnfit(PoolUnreachable):
    """Redis answers, and is none that roompool can use. Its text is a line that a person can act on."""


class PoolClient:
    """Submits notes. Safe to use from many tasks at once."""

    def __init__(self, redis: Redis, rooms: Rooms, story: DecisionLog, queue: JobQueue) -> None:
        self._redis = redis
        self._rooms = rooms
        self._story = story
        self._queue = queue
        self._fitness = Fitness(redis)

    @classmethod
    @asynccontextmanager
    async def open(cls, redis_url: str, *, prefix: str = DEFAULT_PREFIX) -> AsyncIterator[Self]:
        """A client with connections of its own, closed at the end.

        Connects at the first command, so that the receiver starts, and answers 503, while Redis is away.
        """
        redis = lease_redis(redis_url)
        try:
            async with JobQueue.open(redis_url, prefix=prefix) as queue:
                yield cls(redis, Rooms(redis, prefix=prefix), DecisionLog(redis, prefix=prefix), queue)
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
                job = job_of(note)
                if job is not None and noted in WORTH_A_JOB:
                    await self._queue.enqueue(*job)

    async def require_fit(self) -> None:
        """Look at Redis once, at start.

        Raises:
            SettingsInvalid: it answers, and is none that roompool can use. Redis that does not answer raises nothing.
        """
        await self._fitness.require()

    async def tell(self, heard: Sequence[Heard]) -> bool:
        """Add lines to the stories of rooms, for `roompool why`. Never raises; False: some, or all, were lost.

        Takes no longer than `SUBMIT_LIMIT_S`, and has no part in what a delivery is answered.
        """
        try:
            async with asyncio.timeout(SUBMIT_LIMIT_S):
                return await self._story.hear(heard)
        except TimeoutError:
            return False

    async def ping(self) -> None:
        """Raises PoolUnreachable unless Redis answers, and with nothing but PONG; PoolUnfit while we cannot use it."""
        await self._fitness.look()
        if self._fitness.problems:
            raise PoolUnfit(" ".join(self._fitness.problems))
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise PoolUnreachable(fault_of(error)) from error


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise PoolUnreachable(fault_of(error)) from error
