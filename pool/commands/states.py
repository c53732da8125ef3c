"""What a carrier does, in one word. Pure."""

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pool.registry import CarrierSeen

SILENT_AFTER_MS = 10_000
"""Carriers beat every two seconds; one that missed five is most likely gone."""


class Doing(enum.StrEnum):
    """In the order of what hides what."""

    SILENT = "silent"
    CORDONED = "cordoned"
    """Gets no more rooms, for good."""
    DRAINED = "drained"
    """Takes no more calls, and has none left."""
    DRAINING = "draining"
    FULL = "full"
    SERVING = "serving"


def doing(seen: "CarrierSeen") -> Doing:
    """What a carrier does, by its last beat and what Redis knows of it."""
    if seen.beat_age_ms > SILENT_AFTER_MS:
        return Doing.SILENT
    if seen.cordoned:
        return Doing.CORDONED
    if seen.carrier.draining or seen.drained:
        return Doing.DRAINING if busy(seen) else Doing.DRAINED
    return Doing.FULL if seen.leases + seen.reservations >= seen.carrier.capacity else Doing.SERVING


def busy(seen: "CarrierSeen") -> bool:
    """Whether it holds a call: by Redis, or by its own word, which also counts those on their way out."""
    return seen.leases > 0 or (seen.carrier.in_use > 0 and seen.beat_age_ms <= SILENT_AFTER_MS)
