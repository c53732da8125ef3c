"""Redis: restarted, emptied, frozen, away, and cutting everybody's connection all the time. No call may notice."""

import asyncio
from collections.abc import Awaitable, Callable

from deploy.local.chaos.fault import Fault, Injection, Scene
from deploy.local.chaos.site import SiteFailed

AWAY_S = 8.0
"""Long past every lease, and past the time that a failover takes."""

UNSTEADY_S = 8.0
CUT_EVERY_S = 0.1

RENEWED_S = 15.0
"""For owners to have found Redis again and said that their rooms are theirs."""


async def restart(scene: Scene) -> Injection:
    """Killed and started again at once, with its data."""
    return await _spared(scene, lambda: scene.site.stack.valkey.restart(keep_data=True))


async def empty(scene: Scene) -> Injection:
    """Killed and started again at once, without its data."""
    return await _spared(scene, lambda: scene.site.stack.valkey.restart(keep_data=False))


async def freeze(scene: Scene) -> Injection:
    """It stands still: connections stay, nothing answers."""
    valkey = scene.site.stack.valkey

    async def frozen() -> None:
        valkey.freeze()
        try:
            await asyncio.sleep(AWAY_S)
        finally:
            valkey.thaw()

    return await _spared(scene, frozen)


async def die(scene: Scene) -> Injection:
    """It is gone: connections are refused. Then it comes back with its data."""
    valkey = scene.site.stack.valkey

    async def dead() -> None:
        valkey.kill()
        await asyncio.sleep(AWAY_S)
        await valkey.revive()

    return await _spared(scene, dead)


async def cut_connections(scene: Scene) -> Injection:
    """It closes every connection, again and again."""
    valkey = scene.site.stack.valkey

    async def unsteady() -> None:
        for _ in range(round(UNSTEADY_S / CUT_EVERY_S)):
            await asyncio.to_thread(valkey.command, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(CUT_EVERY_S)

    return await _spared(scene, unsteady)


async def _spared(scene: Scene, fault: Callable[[], Awaitable[None]]) -> Injection:
    """Do it. No room may change hands for it; it is over when every lease has been renewed since."""
    loop = asyncio.get_running_loop()
    at = loop.time()
    await fault()

    async def all_known() -> dict[str, int]:
        return {call.room: await _lease_unix_ms(scene, call.room) for call in scene.calls}

    broken = []
    try:
        leases = await scene.site.until(all_known, "Redis answers", limit_s=RENEWED_S)

        async def all_renewed() -> bool:
            return all(until > leases[room] for room, until in (await all_known()).items())

        await scene.site.until(all_renewed, "every lease was renewed", limit_s=RENEWED_S)
    except SiteFailed as failure:
        broken.append(str(failure))
    return Injection(at=at, over_at=loop.time(), broken=tuple(broken))


async def _lease_unix_ms(scene: Scene, room: str) -> int:
    """Up to when somebody holds the room, by Redis' clock; 0 when nobody does."""
    state = await scene.site.look(room)
    return (state.until_unix_ms or 0) if state else 0


FAULTS = (
    Fault(name="redis-restarted", what="Redis is killed and comes back at once, with its data", inject=restart),
    Fault(name="redis-emptied", what="Redis is killed and comes back at once, without its data", inject=empty),
    Fault(name="redis-frozen", what="Redis stands still for 8 s", inject=freeze),
    Fault(name="redis-dead", what="Redis is gone for 8 s", inject=die),
    Fault(name="redis-unsteady", what="Redis cuts every connection each 100 ms, for 8 s", inject=cut_connections),
)
