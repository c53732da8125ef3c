"""One worker cut off from Redis, from LiveKit, and from both, then healed. The others are whole."""

import asyncio
import signal
from collections.abc import Callable

from deploy.local.chaos.fault import Environment, Fault, Injection, Missed, Scene
from deploy.local.chaos.site import IsolatedWorker, send

CUT_S = 8.0
"""Long past a lease."""

CUT_FROM_LIVEKIT_S = 30.0
"""The SDK notices a silent cut after 15 s (seen), and an agent without a room gives it up 5 s later."""


async def cut_from_redis(scene: Scene) -> Injection:
    """It speaks on, renews nothing, and is put out by its successor."""
    isolated = _isolated(scene)
    return await _cut(scene, isolated.redis.hold, isolated.redis.let_go)


async def cut_from_livekit(scene: Scene) -> Injection:
    """Its leases are renewed, but it is in no room."""
    network = _isolated(scene).network
    return await _cut(
        scene, lambda: network.cut(network.host), lambda: network.heal(network.host), for_s=CUT_FROM_LIVEKIT_S
    )


async def cut_from_both(scene: Scene) -> Injection:
    """When the network heals, its SDK would resume and put its own successor out, were it let."""
    isolated = _isolated(scene)
    network = isolated.network

    def cut() -> None:
        isolated.redis.hold()
        network.cut(network.host)

    def heal() -> None:
        network.heal(network.host)
        isolated.redis.let_go()

    return await _cut(scene, cut, heal)


async def leave_calls_to_it(scene: Scene) -> None:
    """Let the others sleep while the callers come, so that all calls are on the worker that will be cut off."""
    site = scene.site
    others = [worker for worker in site.workers if worker is not _isolated(scene).worker]
    for pid in await site.pids_of(others):
        send(pid, signal.SIGSTOP)


async def _cut(scene: Scene, cut: Callable[[], None], heal: Callable[[], None], *, for_s: float = CUT_S) -> Injection:
    isolated = _isolated(scene)
    await scene.site.mend()  # the others wake up
    await scene.site.until(scene.site.carriers_serve, "the other workers serve again")
    holders = await scene.site.holders([call.room for call in scene.calls])
    hit = {room: 1 for room, holder in holders.items() if holder.worker is isolated.worker}
    if not hit:
        raise Missed("no call was on the worker that is cut off")
    loop = asyncio.get_running_loop()
    at = loop.time()
    try:
        cut()
        await asyncio.sleep(for_s)
    finally:
        heal()
    return Injection(at=at, over_at=loop.time(), may_move=hit)


def _isolated(scene: Scene) -> IsolatedWorker:
    isolated = scene.site.isolated
    assert isolated is not None, "this environment has an isolated network"
    return isolated


FAULTS = (
    Fault(
        name="cut-from-redis",
        what="one worker does not reach Redis for 8 s",
        inject=cut_from_redis,
        prepare=leave_calls_to_it,
        environment=Environment.NETWORK,
        calls=4,
    ),
    Fault(
        name="cut-from-livekit",
        what="one worker does not reach LiveKit for 30 s",
        inject=cut_from_livekit,
        prepare=leave_calls_to_it,
        environment=Environment.NETWORK,
        calls=4,
    ),
    Fault(
        name="cut-from-both",
        what="one worker reaches neither for 8 s, and then both again",
        inject=cut_from_both,
        prepare=leave_calls_to_it,
        environment=Environment.NETWORK,
        calls=4,
    ),
)
