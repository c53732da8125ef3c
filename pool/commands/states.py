"""How a carrier is, in one word, from what Redis knows of it. Pure."""

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pool.registry import CarrierSeen

SILENT_AFTER_MS = 10_000
"""Carriers beat every two seconds; one that missed five is most likely gone."""


class CarrierState(enum.StrEnum):
    """In the order of what hides what in one carrier; of a worker's carriers the last one counts."""

    SILENT = "silent"
    CORDONED = "cordoned"
    """Gets no more rooms, for good."""
    DRAINED = "drained"
    """Takes no more calls, and has none left."""
    DRAINING = "draining"
    FULL = "full"
    SERVING = "serving"


def state_of(seen: "CarrierSeen") -> CarrierState:
    """What a carrier does, by its last beat and what Redis knows of it."""
    if seen.beat_age_ms > SILENT_AFTER_MS:
        return CarrierState.SILENT
    if seen.cordoned:
        return CarrierState.CORDONED
    if seen.carrier.draining or seen.drained:
        return CarrierState.DRAINING if is_busy(seen) else CarrierState.DRAINED
    return CarrierState.FULL if seen.leases + seen.reservations >= seen.carrier.capacity else CarrierState.SERVING


def is_busy(seen: "CarrierSeen") -> bool:
    """Whether it holds a call: by Redis, or by its own word, which also counts those on their way out."""
    return seen.leases > 0 or (seen.carrier.in_use > 0 and seen.beat_age_ms <= SILENT_AFTER_MS)
