"""One worker cut off from Redis, from LiveKit, and from both, then healed. The others are whole."""

import asyncio
import signal
from collections.abc import Callable

from deploy.local.chaos.fault import Fault, Ground, Missed, Scene, Struck
from deploy.local.chaos.site import Lines, send

CUT_S = 8.0
"""Long past a lease."""

CUT_FROM_LIVEKIT_S = 30.0
"""The SDK notices a silent cut after 15 s (seen), and an agent without a room gives it up 5 s later."""


async def cut_from_redis(scene: Scene) -> Struck:
    """It speaks on, renews nothing, and is put out by its successor."""
    lines = _lines(scene)
    return await _cut(scene, lines.redis.hold, lines.redis.let_go)


async def cut_from_livekit(scene: Scene) -> Struck:
    """Its leases are renewed, but it is in no room."""
    island = _lines(scene).island
    return await _cut(
        scene, lambda: island.cut(island.host), lambda: island.heal(island.host), for_s=CUT_FROM_LIVEKIT_S
    )


async def cut_from_both(scene: Scene) -> Struck:
    """When the network heals, its SDK would resume and put its own successor out, were it let."""
    lines = _lines(scene)
    island = lines.island

    def cut() -> None:
        lines.redis.hold()
        island.cut(island.host)

    def heal() -> None:
        island.heal(island.host)
        lines.redis.let_go()

    return await _cut(scene, cut, heal)


async def leave_calls_to_it(scene: Scene) -> None:
    """Let the others sleep while the callers come, so that all calls are on the worker that will be cut off."""
    site = scene.site
    others = [worker for worker in site.workers if worker is not _lines(scene).worker]
    for pid in await site.pids_of(others):
        send(pid, signal.SIGSTOP)


async def _cut(scene: Scene, cut: Callable[[], None], heal: Callable[[], None], *, for_s: float = CUT_S) -> Struck:
    lines = _lines(scene)
    await scene.site.mend()  # the others wake up
    await scene.site.until(scene.site.carriers_serve, "the other workers serve again")
    holders = await scene.site.holders([talk.room for talk in scene.talks])
    hit = {room: 1 for room, holder in holders.items() if holder.worker is lines.worker}
    if not hit:
        raise Missed("no call was on the worker that is cut off")
    loop = asyncio.get_running_loop()
    at = loop.time()
    try:
        cut()
        await asyncio.sleep(for_s)
    finally:
        heal()
    return Struck(at=at, over_at=loop.time(), may_move=hit)


def _lines(scene: Scene) -> Lines:
    lines = scene.site.lines
    assert lines is not None, "this ground has an island"
    return lines


FAULTS = (
    Fault(
        name="cut-from-redis",
        what="one worker does not reach Redis for 8 s",
        strike=cut_from_redis,
        prepare=leave_calls_to_it,
        ground=Ground.NETWORK,
        calls=4,
    ),
    Fault(
        name="cut-from-livekit",
        what="one worker does not reach LiveKit for 30 s",
        strike=cut_from_livekit,
        prepare=leave_calls_to_it,
        ground=Ground.NETWORK,
        calls=4,
    ),
    Fault(
        name="cut-from-both",
        what="one worker reaches neither for 8 s, and then both again",
        strike=cut_from_both,
        prepare=leave_calls_to_it,
        ground=Ground.NETWORK,
        calls=4,
    ),
)
