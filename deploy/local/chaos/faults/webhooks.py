"""Deliveries that are lost, doubled, late, or come in another order. A webhook is a hint: everybody is served."""

import asyncio
import functools

from deploy.local.chaos.fault import Fault, Injection, Moment, Scene
from deploy.local.chaos.webhook_proxy import DeliveryFault

ARRIVED_S = 30.0
"""For what is due to be taken by the receiver, on a busy machine."""


async def inject(fault: DeliveryFault, scene: Scene) -> Injection:
    """From now on the proxy does this to every delivery."""
    scene.site.webhooks.fault = fault
    at = asyncio.get_running_loop().time()
    return Injection(at=at, over_at=at)


async def late_ones_came(scene: Scene) -> None:
    """Wait until what was held back has arrived, with the calls going on."""
    proxy = scene.site.webhooks
    await scene.site.until(proxy.has_nothing_left, "the late deliveries arrived", limit_s=proxy.delay_s + ARRIVED_S)


def _fault(name: str, what: str, fault: DeliveryFault) -> Fault:
    return Fault(
        name=name,
        what=what,
        inject=functools.partial(inject, fault),
        moment=Moment.BEFORE,
        until_over=late_ones_came,
    )


FAULTS = (
    _fault("webhooks-lost", "no delivery arrives", DeliveryFault.LOSE),
    _fault("webhooks-doubled", "every delivery arrives twice", DeliveryFault.DUPLICATE),
    _fault("webhooks-late", "every delivery arrives 25 s late", DeliveryFault.DELAY),
    _fault("webhooks-reordered", "deliveries arrive in the opposite order", DeliveryFault.REORDER),
)
