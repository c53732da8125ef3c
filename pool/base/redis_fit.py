"""Whether the Redis that answers is one that roompool can live in, found out before anything leans on it.

What is wrong with it is found at start, where somebody still reads: afterwards it would show as calls that are lost now
and then. A Redis that does not answer at start may come, and is looked at when it does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from pool.base.errors import SettingsInvalid
from pool.base.outage import cure_of, fault_of, outage_of
from pool.base.sentinels import UnknownService

log = structlog.get_logger()

LOOK_LIMIT_S = 3.0
LOOK_EVERY_S = 0.5
"""While it does not answer. Whoever waits holds no call, and is wanted as soon as it does."""

UNFIT_LOOK_EVERY_S = 2.0

OLDEST = (6, 2)
"""The oldest with which the scripts were tried."""

NO_ANSWER = "redis does not answer"

UNKNOWN_SERVICE = (
    "REDIS_URL: its sentinels watch no service of that name. "
    "Cure: write after the slash what their `sentinel monitor` says."
)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself; None where it will not."""

    version: tuple[int, ...] | None = None
    is_cluster: bool | None = None
    is_replica: bool | None = None
    eviction: str | None = None
    """Its maxmemory-policy."""


def problems_of(facts: ServerFacts) -> tuple[str, ...]:
    """A line for each reason why roompool cannot use this server: what it is, why that is wrong, and the cure."""
    problems = []
    if facts.is_cluster:
        problems.append(
            "REDIS_URL: is a Redis Cluster, whose servers each hold a part of the keys, and our scripts need them all. "
            "Cure: use one server, with a replica and Sentinel if you like."
        )
    if facts.is_replica:
        problems.append(
            "REDIS_URL: is a replica, which takes no writes. "
            "Cure: name the primary, or its sentinels: redis+sentinel://host:26379/service."
        )
    if facts.version is not None and facts.version < OLDEST:
        problems.append(
            f"REDIS_URL: is a Redis {_dotted(facts.version)}, older than our scripts can do with. "
            f"Cure: use Redis {_dotted(OLDEST)} or later, or Valkey."
        )
    if facts.eviction not in (None, "noeviction"):
        problems.append(
            f"REDIS_URL: has maxmemory-policy {facts.eviction}: short of memory it would forget who owns a room, and "
            "who waits. Cure: CONFIG SET maxmemory-policy noeviction (a managed Redis has it among its parameters), or "
            "use a Redis of roompool's own."
        )
    return tuple(problems)


def facts_in(info: Mapping[str, Any], eviction: str | None = None) -> ServerFacts:
    """Read INFO's answer. A managed Redis may leave lines out, or all of them."""
    parts = str(info.get("redis_version", "")).split(".")[:2]
    return ServerFacts(
        version=tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else None,
        is_cluster=bool(info["cluster_enabled"]) if "cluster_enabled" in info else None,
        is_replica=info["role"] == "slave" if "role" in info else None,
        eviction=info.get("maxmemory_policy") or eviction,
    )


async def facts_of(redis: Redis) -> ServerFacts:
    """Ask a server about itself.

    Raises:
        RedisError, OSError: It cannot be reached in time. That it will not tell raises nothing.
    """
    async with asyncio.timeout(LOOK_LIMIT_S):
        info = await _told(redis.info()) or {}
        if info.get("maxmemory_policy"):
            return facts_in(info)
        config = await _told(redis.config_get("maxmemory-policy")) or {}
        return facts_in(info, config.get("maxmemory-policy"))


class Fitness:
    """What is known of the Redis behind one client. Once found fit it is not looked at again.

    Args:
        redis: A client with `decode_responses=True`.
        see: Replaces the asking, for tests.
    """

    def __init__(self, redis: Redis, *, see: Callable[[Redis], Awaitable[ServerFacts]] = facts_of) -> None:
        self._redis = redis
        self._see = see
        self._problems: tuple[str, ...] = ()
        self._is_fit = False
        self._cure = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, as it answered last; nothing when it is fit, or has not answered."""
        return self._problems

    @property
    def trouble(self) -> str | None:
        """Why no room may be claimed yet, in words for `/readyz`; None when nothing is in the way."""
        if self._is_fit:
            return None
        return " ".join(self._problems) or NO_ANSWER

    async def require(self) -> None:
        """Look once, at start. That it does not answer is no reason to refuse: `until_fit` looks again.

        Raises:
            SettingsInvalid: It answers, and cannot be used.
        """
        await self._look()
        if self._problems:
            raise SettingsInvalid(self._problems)

    async def look(self) -> None:
        """Find out, unless it is known to be fit. What is wrong is told in the log once, not at each look."""
        before = self._problems
        await self._look()
        if self._problems != before:
            for problem in self._problems:
                log.error("redis_unfit", problem=problem)

    async def _look(self) -> None:
        if self._is_fit:
            return
        try:
            facts = await self._see(self._redis)
        except UnknownService:
            self._problems = (UNKNOWN_SERVICE,)
        except (RedisError, OSError) as error:
            self._problems = ()
            self._cure = cure_of(error)
            log.debug("redis_not_seen", error=fault_of(error))
        else:
            self._problems = problems_of(facts)
            self._is_fit = not self._problems
            if not self._problems and facts.eviction is None:
                log.warning("redis_keeps_its_policy_secret", cure="see to it that its maxmemory-policy is noeviction")

    async def until_fit(self, stop: asyncio.Event) -> None:
        """Look until it is fit; returns at once when it is already, and when `stop` is set."""
        await self.look()
        if self.trouble is None or stop.is_set():
            return
        if not self._problems:
            log.warning("redis_awaited", cure=f"{self._cure}; until then no call is taken")
        while self.trouble and not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(UNFIT_LOOK_EVERY_S if self._problems else LOOK_EVERY_S):
                    await stop.wait()
            await self.look()
        log.info("redis_found", is_fit=self._is_fit)


async def _told(question: Awaitable[Any]) -> Any:
    """The answer, or None when the server does not let us ask or does not know the question."""
    try:
        return await question
    except NoPermissionError:
        return None
    except ResponseError as error:
        if outage_of(error) is not None:
            raise
        return None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
