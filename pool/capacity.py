"""Whether a carrier may take one more call, and why not. Pure."""

import enum
from dataclasses import dataclass


class Refusal(enum.StrEnum):
    """Why not, the first reason that holds."""

    DRAINING = "draining"
    FULL = "full"
    LOOP_LAG = "loop_lag"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a carrier may carry."""

    capacity: int
    """Calls at one time, a hard cap."""

    max_loop_lag_s: float = 0.1
    """Audio is handed over at most 200 ms ahead: a loop that is late by half of it is about to be heard."""


@dataclass(frozen=True, slots=True)
class Load:
    """How a carrier is doing."""

    in_use: int
    """Calls held, those on their way in and out included."""

    is_draining: bool = False
    loop_lag_s: float = 0.0


def refusal(load: Load, limits: Limits) -> Refusal | None:
    """Why this carrier may not take one more call, or None if it may."""
    if load.is_draining:
        return Refusal.DRAINING
    if load.in_use >= limits.capacity:
        return Refusal.FULL
    if load.loop_lag_s > limits.max_loop_lag_s:
        return Refusal.LOOP_LAG
    return None
