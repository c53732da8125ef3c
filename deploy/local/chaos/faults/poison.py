"""A room that kills whoever joins it. It is set aside after three deaths; the calls beside it go on elsewhere."""

import asyncio
import contextlib
from collections.abc import Mapping

from deploy.local.chaos.fault import Environment, Fault, Injection, Scene
from deploy.local.chaos.site import Site, SiteFailed, is_alive
from pool.registry import Standing

POISON_ROOMS = "venom"
"""What the names of such rooms begin with."""

DEATHS = 3
"""Carriers that die in a room before it is quarantined."""

SET_ASIDE_S = 90.0
"""For three joins, the waits between them, and carriers that start anew on a busy machine."""


async def inject(scene: Scene) -> Injection:
    """Somebody calls such a room, and stays until it is set aside."""
    site = scene.site
    loop = asyncio.get_running_loop()
    at = loop.time()
    dead_before = {one.carrier.id for one in await site.carriers() if not is_alive(one.carrier.pid)}
    seen: dict[str, int] = {}
    broken = []
    async with site.caller(POISON_ROOMS) as bait:
        try:
            await site.until(
                lambda: _is_set_aside(site, bait.room_name, seen), "the room is quarantined", limit_s=SET_ASIDE_S
            )
        except SiteFailed:
            broken.append(f"{bait.room_name} was not quarantined within {SET_ASIDE_S:.0f} s")
    killed = frozenset(carrier for carrier, pid in seen.items() if not is_alive(pid)) - dead_before
    if len(killed) > DEATHS:
        broken.append(f"{len(killed)} carriers died in {bait.room_name}, not {DEATHS}")
    moves: Mapping[str, int] = {call.room: len(killed) for call in scene.calls}
    return Injection(at=at, over_at=loop.time(), may_move=moves, killed=killed, broken=tuple(broken))


async def _is_set_aside(site: Site, room: str, seen: dict[str, int]) -> bool:
    """Whether it is; and learn of every carrier that there has been."""
    with contextlib.suppress(SiteFailed):
        seen |= {one.carrier.id: one.carrier.pid for one in await site.carriers()}
    state = await site.look(room)
    return state is not None and state.standing is Standing.QUARANTINED


FAULTS = (
    Fault(
        name="poison-room",
        what="the SDK panics in whoever joins a certain room, beside other calls",
        inject=inject,
        environment=Environment.POISON,
        calls=4,
    ),
)
