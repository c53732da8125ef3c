"""Which cores a program may run on, so that what is measured does not share one with what measures it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.bench.row import CannotMeasure


def two_cores() -> tuple[int, int]:
    """A core for what is measured, and another one for all the rest.

    Raises:
        CannotMeasure: There are no two, or this system does not let us choose.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise CannotMeasure("this system cannot keep a program on one core: it takes Linux")
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        raise CannotMeasure("it takes two cores: one for what is measured, one for the load")
    return ours[0], ours[1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this thread, and what it starts meanwhile, on one core. What was started stays there for good."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
