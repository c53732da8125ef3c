"""A new release: its workers start, then the old ones are told to go, one after the other, with calls in progress."""

import asyncio

from deploy.local.chaos.fault import Fault, Injection, Scene
from deploy.local.processes import NeverSaid

GONE_S = 60.0
"""For a worker to hand its calls over and end. A quiet moment is waited for at most 5 s each."""


async def roll(scene: Scene) -> Injection:
    """Replace every worker. Each call may change hands once, because the newest release is asked first."""
    site = scene.site
    old = site.workers
    release = f"release-{len(site.stack.workers)}"
    for _ in old:
        await site.add_worker(ROOMPOOL_REVISION=release)
    loop = asyncio.get_running_loop()
    at = loop.time()
    broken = []
    for worker in old:
        worker.ask_to_end()
        try:
            status = await worker.wait_ended(timeout_s=GONE_S)
        except NeverSaid:
            broken.append(f"{worker.name} had not handed its calls over {GONE_S:.0f} s after SIGTERM")
            await worker.kill()
            continue
        if status != 0:
            broken.append(f"{worker.name} ended with exit code {status}")
    return Injection(at=at, over_at=loop.time(), may_move={call.room: 1 for call in scene.calls}, broken=tuple(broken))


FAULTS = (
    Fault(
        name="rolling-deploy",
        what="every worker is replaced by one of a new release, in calls",
        inject=roll,
        calls=4,
        is_hand_over=True,
    ),
)
