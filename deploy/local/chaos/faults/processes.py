"""Processes of workers: killed, frozen, and one killed while a crowd comes in."""

import asyncio
import signal

from deploy.local.chaos.fault import Fault, Injection, Missed, Moment, Scene
from deploy.local.chaos.site import Holder, send

FROZEN_S = 5.0
"""Longer than a lease, shorter than anybody's patience."""


async def kill_carrier(scene: Scene) -> Injection:
    """kill -9 of the process that holds a call; its worker's parent lives."""
    holders = await _holders(scene)
    victim = scene.random.choice(list(holders.values()))
    at = _now()
    send(victim.pid, signal.SIGKILL)
    hit = {room: 1 for room, holder in holders.items() if holder.carrier == victim.carrier}
    return Injection(at=at, over_at=at, may_move=hit, killed=frozenset({victim.carrier}))


async def kill_worker(scene: Scene) -> Injection:
    """kill -9 of a whole worker: the parent, and every carrier of it at the same moment, as when a machine goes."""
    holders = await _holders(scene)
    victim = scene.random.choice(list(holders.values())).worker
    carriers = [seen.carrier for seen in await scene.site.carriers_of(victim)]
    at = _now()
    for pid in {victim.pid, *(carrier.pid for carrier in carriers)}:
        send(pid, signal.SIGKILL)
    hit = {room: 1 for room, holder in holders.items() if holder.worker is victim}
    return Injection(at=at, over_at=at, may_move=hit, killed=frozenset(carrier.id for carrier in carriers))


async def freeze_carrier(scene: Scene) -> Injection:
    """SIGSTOP of the process that holds a call, for longer than its lease, then SIGCONT."""
    holders = await _holders(scene)
    victim = scene.random.choice(list(holders.values()))
    hit = {room: 1 for room, holder in holders.items() if holder.carrier == victim.carrier}
    return await _freeze({victim.pid}, hit)


async def freeze_worker(scene: Scene) -> Injection:
    """SIGSTOP of a worker's parent and carriers, then SIGCONT."""
    holders = await _holders(scene)
    victim = scene.random.choice(list(holders.values())).worker
    hit = {room: 1 for room, holder in holders.items() if holder.worker is victim}
    return await _freeze(await scene.site.pids_of([victim]), hit)


async def kill_among_joins(scene: Scene) -> Injection:
    """kill -9 of one carrier while callers come in: of one that has a call already, if any has."""
    seen = [one for one in await scene.site.carriers() if not one.cordoned]
    busy = [one for one in seen if one.leases] or seen
    if not busy:
        raise Missed("no carrier beats")
    victim = scene.random.choice(busy).carrier
    at = _now()
    send(victim.pid, signal.SIGKILL)

    async def is_barred() -> bool:
        carriers = await scene.site.carriers()
        return any(one.cordoned and one.carrier.id == victim.id for one in carriers)

    await scene.site.until(is_barred, "the killed carrier can claim no more")  # what it sent may be on its way
    hit = {call.room: 1 for call in scene.calls if await _was_claimed_by(victim.id, scene, call.room)}
    return Injection(at=at, over_at=at, may_move=hit, killed=frozenset({victim.id}))


async def _was_claimed_by(carrier: str, scene: Scene, room: str) -> bool:
    story = await scene.site.story(room)
    return any(one.event == "claimed" and one.facts["carrier"] == carrier for one in story)


async def _freeze(pids: set[int], hit: dict[str, int]) -> Injection:
    at = _now()
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN_S)
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)
    return Injection(at=at, over_at=_now(), may_move=hit)


async def _holders(scene: Scene) -> dict[str, Holder]:
    return await scene.site.holders([call.room for call in scene.calls])


def _now() -> float:
    return asyncio.get_running_loop().time()


FAULTS = (
    Fault(
        name="carrier-killed", what="kill -9 of the process that holds a call; its parent lives", inject=kill_carrier
    ),
    Fault(name="worker-killed", what="kill -9 of a whole worker, parent and carriers", inject=kill_worker),
    Fault(name="carrier-frozen", what="the process that holds the call stands still for 5 s", inject=freeze_carrier),
    Fault(name="worker-frozen", what="a whole worker stands still for 5 s", inject=freeze_worker),
    Fault(
        name="joins-with-a-kill",
        what="30 callers come within 24 s, and a carrier is killed among them",
        inject=kill_among_joins,
        moment=Moment.ARRIVING,
        calls=30,
        every_s=0.8,
        limit_s=60.0,
    ),
)
