"""The caller's own troubles: a connection rebuilt from scratch, and a tab that is killed and opened again."""

import asyncio
import functools

from deploy.local.chaos.fault import Fault, Injection, Moment, Scene
from deploy.local.chaos.probe_call import COMES_S, ProbeCall
from deploy.local.processes import Child

STAYS_S = 600
"""What the tab's caller is told; it is killed long before."""

BACK_WITHIN_S = 4.0
"""Somebody whose tab crashed opens it again within so long, while LiveKit still believes the old one present."""


async def reconnect(scene: Scene) -> Injection:
    """Every caller's SDK rebuilds its connection: to LiveKit, it leaves by its own will and joins once more.

    LiveKit tells the agent what it tells of a caller who hangs up, so this call is over, and the next one begins.
    """
    loop = asyncio.get_running_loop()
    at = loop.time()
    async with asyncio.TaskGroup() as group:
        for call in scene.calls:
            group.create_task(call.caller.reconnect_fully(timeout_s=COMES_S), name=f"reconnect_{call.room}")
    return Injection(at=at, over_at=loop.time(), may_move={call.room: 1 for call in scene.calls})


async def kill_tab(scene: Scene) -> Injection:
    """Callers that are processes of their own talk, and are killed; then each comes back under its identity."""
    tabs = [await _open_tab(scene, call) for call in scene.calls]
    for call in scene.calls:
        spoken_to = functools.partial(_is_spoken_to, scene, call.room)
        await scene.site.until(spoken_to, f"an agent with a voice is in {call.room}")
        call.fence = (await scene.site.holder(call.room)).fence
    loop = asyncio.get_running_loop()
    at = loop.time()
    for tab in tabs:
        await tab.kill()
    await asyncio.sleep(scene.random.uniform(0, BACK_WITHIN_S))
    return Injection(at=at, over_at=loop.time())


async def _open_tab(scene: Scene, call: ProbeCall) -> Child:
    words = ["call", call.room, "--identity", call.caller.identity, "--seconds", str(STAYS_S), "--json"]
    return await scene.site.stack.run(f"tab-{call.room}", words)


async def _is_spoken_to(scene: Scene, room: str) -> bool:
    return any(one.event == "voice_ready" for one in await scene.site.story(room))


FAULTS = (
    Fault(name="caller-reconnects", what="the caller's connection is rebuilt from scratch", inject=reconnect),
    Fault(
        name="tab-killed",
        what="the caller's process is killed, and comes back under the same identity",
        inject=kill_tab,
        moment=Moment.BEFORE,
    ),
)
