"""The caller's own troubles: a connection rebuilt from scratch, and a tab that is killed and opened again."""

import asyncio
import functools

from deploy.local.chaos.fault import Fault, Moment, Scene, Struck
from deploy.local.chaos.talk import COMES_S, Talk
from deploy.local.processes import Child

STAYS_S = 600
"""What the tab's caller is told; it is killed long before."""

BACK_WITHIN_S = 4.0
"""Somebody whose tab crashed opens it again within so long, while LiveKit still believes the old one present."""


async def reconnect(scene: Scene) -> Struck:
    """Every caller's SDK rebuilds its connection: to LiveKit, it leaves by its own will and joins once more.

    LiveKit tells the agent what it tells of a caller who hangs up, so this call is over, and the next one begins.
    """
    loop = asyncio.get_running_loop()
    at = loop.time()
    async with asyncio.TaskGroup() as group:
        for talk in scene.talks:
            group.create_task(talk.caller.reconnect_fully(timeout_s=COMES_S), name=f"reconnect_{talk.room}")
    return Struck(at=at, over_at=loop.time(), may_move={talk.room: 1 for talk in scene.talks})


async def kill_tab(scene: Scene) -> Struck:
    """Callers that are processes of their own talk, and are killed; then each comes back under its identity."""
    tabs = [await _open_tab(scene, talk) for talk in scene.talks]
    for talk in scene.talks:
        spoken_to = functools.partial(_is_spoken_to, scene, talk.room)
        await scene.site.until(spoken_to, f"an agent with a voice is in {talk.room}")
        talk.fence = (await scene.site.holder(talk.room)).fence
    loop = asyncio.get_running_loop()
    at = loop.time()
    for tab in tabs:
        await tab.kill()
    await asyncio.sleep(scene.random.uniform(0, BACK_WITHIN_S))
    return Struck(at=at, over_at=loop.time())


async def _open_tab(scene: Scene, talk: Talk) -> Child:
    words = ["call", talk.room, "--identity", talk.caller.identity, "--seconds", str(STAYS_S), "--json"]
    return await scene.site.stack.run(f"tab-{talk.room}", words)


async def _is_spoken_to(scene: Scene, room: str) -> bool:
    return any(one.event == "voice_ready" for one in await scene.site.story(room))


FAULTS = (
    Fault(name="caller-reconnects", what="the caller's connection is rebuilt from scratch", strike=reconnect),
    Fault(
        name="tab-killed",
        what="the caller's process is killed, and comes back under the same identity",
        strike=kill_tab,
        moment=Moment.BEFORE,
    ),
)
