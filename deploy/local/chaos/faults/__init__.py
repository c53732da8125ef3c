"""Every fault, by name, in the order in which they are told of."""

from collections.abc import Mapping

from deploy.local.chaos.fault import Fault
from deploy.local.chaos.faults import callers, deploys, failover, network, poison, processes, redis, webhooks

ALL: tuple[Fault, ...] = (
    *processes.FAULTS,
    *redis.FAULTS,
    *failover.FAULTS,
    *network.FAULTS,
    *webhooks.FAULTS,
    *deploys.FAULTS,
    *callers.FAULTS,
    *poison.FAULTS,
)
BY_NAME: Mapping[str, Fault] = {fault.name: fault for fault in ALL}
