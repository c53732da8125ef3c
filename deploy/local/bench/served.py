"""One caller's coming, and how long everything took: the same for whoever is measured."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bridge.caller.caller import Caller
from bridge.caller.errors import NotInTime
from deploy.local.bench.figures import Figure, Measured
from deploy.local.bench.process_tree import cost_of
from deploy.local.bench.row import Bench
from deploy.local.bench.subjects import Running, Subject

LOST_AFTER_S = 20.0
"""A caller who has heard no agent by then is lost."""


@dataclass(frozen=True, slots=True)
class Served:
    """Milliseconds since the caller's `connect()` began."""

    seen_ms: float
    subscribed_ms: float
    heard_ms: float


async def come(running: Running) -> Served | None:
    """Come into a room of one's own, wait until the agent is heard, and leave. None: none was in time.

    Raises:
        CallerError: The caller itself did not get in, or was put out: no finding about the agent.
    """
    server = running.server
    room = f"bench-{secrets.token_hex(4)}"
    async with Caller(server.url, room=room, key=server.api_key, secret=server.api_secret) as caller:
        try:
            await caller.agent_heard(LOST_AFTER_S)
        except NotInTime:
            return None
        witness, began_at = caller.witness, caller.connect_began_at
        times = [witness.seen_at, witness.subscribed_at, witness.heard_at]
        seen, subscribed, heard = ((at - began_at) * 1000 for at in times if at is not None)
    return Served(seen, subscribed, heard)


async def come_together(running: Running, many: int) -> list[Served | None]:
    """So many at the same time."""
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(come(running), name=f"caller {number}") for number in range(many)]
    return [caller.result() for caller in callers]


async def measure_coming(
    bench: Bench, row: str, subjects: Sequence[Subject], come_all: Callable[[Running], Awaitable[list[Served | None]]]
) -> list[Measured]:
    """What `come_all` sees of each subject in each round, after one caller who is not counted."""
    came: dict[str, list[Served | None]] = {subject.name: [] for subject in subjects}
    processes: dict[str, int] = {}
    for number in range(bench.repeat):
        # The other way round each time: the box gets slower or faster as it goes.
        for place, subject in enumerate(subjects if number % 2 == 0 else subjects[::-1]):
            bench.tell(f"  round {number + 1}: {subject.name}")
            async with subject.start(bench, bench.run_dir / f"{row}-{number}-{place}", is_speaking=False) as running:
                await come(running)
                came[subject.name] += await come_all(running)
                processes[subject.name] = cost_of(running.pid).processes
    return [_measured(name, served, processes=processes[name]) for name, served in came.items()]


def _measured(subject: str, came: Sequence[Served | None], *, processes: int) -> Measured:
    """The spread of their times, and how many were lost."""
    served = [one for one in came if one is not None]
    return Measured(
        subject=subject,
        figures={
            "seen": Figure("ms", tuple(one.seen_ms for one in served)),
            "subscribed": Figure("ms", tuple(one.subscribed_ms for one in served)),
            "heard": Figure("ms", tuple(one.heard_ms for one in served)),
        },
        lost=len(came) - len(served),
        processes=processes,
    )
