"""Sentinels replace Redis' primary by a replica that has not heard of the last grants."""

import asyncio

from deploy.local.chaos.fault import Environment, Fault, Injection, Scene
from deploy.local.sentinel import SentinelSet

FAILED_OVER_S = 30.0


async def keep_from_replica(scene: Scene) -> None:
    """From now on the replica hears nothing, so that the grants to come are known to the primary alone."""
    sentinels = _sentinels(scene)
    await sentinels.in_step(within_s=FAILED_OVER_S)
    await asyncio.to_thread(sentinels.pause_replication)


async def fail_over(scene: Scene) -> Injection:
    """The primary dies, and the replica takes its place. It may grant a room once more: its owner then learns so."""
    sentinels = _sentinels(scene)
    loop = asyncio.get_running_loop()
    was = await asyncio.to_thread(lambda: sentinels.master_port)
    at = loop.time()
    await asyncio.to_thread(sentinels.kill_master)
    await sentinels.failed_over(from_port=was, within_s=FAILED_OVER_S)
    return Injection(at=at, over_at=loop.time(), may_move={call.room: 1 for call in scene.calls})


def _sentinels(scene: Scene) -> SentinelSet:
    sentinels = scene.site.sentinels
    assert sentinels is not None, "this environment has sentinels"
    return sentinels


FAULTS = (
    Fault(
        name="redis-failover",
        what="sentinels promote a replica that has not heard of the calls",
        inject=fail_over,
        prepare=keep_from_replica,
        environment=Environment.SENTINEL,
    ),
)
