"""Which cores a program may run on, and what it used of them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.local.bench.row import CannotMeasure


def two_cores() -> tuple[int, int]:
    """A core for what is measured, and another one for all the rest.

    Raises:
        CannotMeasure: There are no two, or this system does not let us choose.
    """
    measured, *others = _cores()
    return measured, others[0]


def _cores() -> list[int]:
    """Those we may run on, two at the least."""
    if not hasattr(os, "sched_setaffinity"):
        raise CannotMeasure("this system cannot keep a program on one core: it takes Linux")
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        raise CannotMeasure("it takes two cores: one for what is measured, one for the load")
    return ours


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
        CannotMeasure: As `two_cores`.
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


def cpu_s_of(pid: int) -> float:
    """Seconds of a core that a process has used since it began, in all of its threads.

    Raises:
        OSError: There is no such process, or no `/proc`.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
