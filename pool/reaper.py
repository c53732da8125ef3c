"""Frees what dead carriers held, over a connection to Redis that stands before it is needed."""

import asyncio
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pool.base.outage import fault_of
from pool.registry import Carriers
from pool.registry.connect import lease_redis
from pool.registry.workers import REAP

log = structlog.get_logger()

WAITS_S = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Before each attempt. While Redis is away nobody can take the rooms anyway; and the leases end by themselves."""

WARM_S = 1.0
"""How often the connection is used, so that it stands. A Redis that was restarted knows no scripts."""

COLD_CURE = "check that Redis runs and is reached; until then what a dead carrier held is free only when its leases end"


class Reaper:
    """The parent's only tie to room state."""

    def __init__(self) -> None:
        self._redis_url = asyncio.get_running_loop().create_future()
        self._carriers: Carriers | None = None

    def learn(self, redis_url: str) -> None:
        """Where Redis is; the first answer counts."""
        if not self._redis_url.done():
            self._redis_url.set_result(redis_url)

    async def keep_warm(self) -> None:
        """Task: hold the connection, and see to it that Redis knows the script. Warns once when it can not."""
        redis = lease_redis(await self._redis_url)
        try:
            self._carriers = Carriers(redis)
            was_warm = True
            while True:
                is_warm = await _is_taught(redis)
                if is_warm != was_warm:
                    _tell_of_change(is_warm)
                was_warm = is_warm
                await asyncio.sleep(WARM_S)
        finally:
            await redis.aclose()

    async def reap(self, carrier: str) -> list[str] | None:
        """Free the rooms of a carrier whose process is gone, and name them. None: Redis did not answer any attempt."""
        if self._carriers is None:  # no carrier has come so far as to know where Redis is
            return []
        for wait_s in WAITS_S:
            await asyncio.sleep(wait_s)
            try:
                return await self._carriers.reap(carrier)
            except (RedisError, OSError) as error:
                log.debug("reap_unanswered", carrier=carrier, error=type(error).__name__)
        return None


def _tell_of_change(is_warm: bool) -> None:
    if is_warm:
        log.info("reaper_warm")
    else:
        log.warning("reaper_cold", cure=COLD_CURE)


async def _is_taught(redis: Redis) -> bool:
    """Whether Redis answers and knows the script now."""
    try:
        await _teach(redis)
    except (RedisError, OSError) as error:
        log.debug("reaper_not_warmed", error=fault_of(error))
        return False
    return True


async def _teach(redis: Redis) -> None:
    commands: Any = redis  # these are untyped
    if not all(await commands.script_exists(REAP.sha)):
        await commands.script_load(REAP.source)
