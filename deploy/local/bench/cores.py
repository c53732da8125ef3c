"""Which cores a program may run on."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from deploy.local.bench.row import CannotMeasure


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this thread, and what it starts meanwhile, on one core. What was started stays there for good."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def a_core_apart() -> Iterator[int]:
    """Keep this process, in all of its threads, and what it starts meanwhile off one core, which is returned.

    Raises:
        CannotMeasure: There are no two, or this system does not let us choose.
    """
    apart, *others = everywhere = _cores()
    _move_threads(others)
    try:
        yield apart
    finally:
        _move_threads(everywhere)


def _move_threads(cores: Iterable[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread), cores)


def _cores() -> list[int]:
    """Those that this process may run on, two at the least."""
    if not hasattr(os, "sched_setaffinity"):
        raise CannotMeasure("this system cannot keep a program on one core: it takes Linux")
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        raise CannotMeasure("it takes two cores: one for what is measured, one for the load")
    return ours
