"""Deliveries that are lost, doubled, late, or come in another order. A webhook is a hint: everybody is served."""

import asyncio
import functools

from deploy.local.chaos.fault import Fault, Moment, Scene, Struck
from deploy.local.chaos.webhook_proxy import Mood

ARRIVED_S = 30.0
"""For what is due to be taken by the receiver, on a busy machine."""


async def take_mood(mood: Mood, scene: Scene) -> Struck:
    """From now on the proxy does this to every delivery."""
    scene.site.webhooks.mood = mood
    at = asyncio.get_running_loop().time()
    return Struck(at=at, over_at=at)


async def late_ones_came(scene: Scene) -> None:
    """Wait until what was held back has arrived, with the calls going on."""
    proxy = scene.site.webhooks
    await scene.site.until(proxy.has_nothing_left, "the late deliveries arrived", limit_s=proxy.late_s + ARRIVED_S)


def _fault(name: str, what: str, mood: Mood) -> Fault:
    return Fault(
        name=name,
        what=what,
        strike=functools.partial(take_mood, mood),
        moment=Moment.BEFORE,
        until_over=late_ones_came,
    )


FAULTS = (
    _fault("webhooks-lost", "no delivery arrives", Mood.LOSE),
    _fault("webhooks-doubled", "every delivery arrives twice", Mood.DOUBLE),
    _fault("webhooks-late", "every delivery arrives 25 s late", Mood.LATE),
    _fault("webhooks-reordered", "deliveries arrive in the opposite order", Mood.TURN_ROUND),
)
