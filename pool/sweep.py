"""Rooms whose time has come: what no webhook and no job will tell a carrier again."""

import asyncio
import random

import structlog
from redis.exceptions import RedisError

from pool import metrics
from pool.carrier import Carrier
from pool.registry import Rooms

log = structlog.get_logger()

SWEEP_S = 0.25
JITTER = 0.3
"""Carriers that started together would otherwise sweep together for ever."""


async def sweep_forever(carrier: Carrier, rooms: Rooms) -> None:
    """Task: move what is due to the waiting rooms, claim one while there is a slot, and hear of rooms to stand by for.

    Its own timer also tells how late the event loop is, which decides whether the carrier takes more.
    """
    loop = asyncio.get_running_loop()
    failing = False
    while True:
        pause_s = SWEEP_S * random.uniform(1 - JITTER, 1 + JITTER)
        slept_at = loop.time()
        await asyncio.sleep(pause_s)
        carrier.loop_lag_s = max(loop.time() - slept_at - pause_s, 0.0)
        metrics.LOOP_LAG_SECONDS.set(carrier.loop_lag_s)
        if not carrier.is_answered:
            continue
        try:
            due = await rooms.due(carrier=carrier.id)
        except (RedisError, OSError) as error:
            metrics.SWEEPS_FAILED.inc()
            if not failing:
                log.warning("sweep_failed", error=type(error).__name__)
            failing = True
            continue
        if failing:
            log.info("sweep_recovered")
        failing = False
        carrier.answered()
        carrier.offered(due.offers)
        for _ in range(max(due.claimable, 1)):  # one at least: a lost wake-up leaves a room waiting that nothing moved
            carrier.want_claim()
