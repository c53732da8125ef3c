"""What calls cost: memory and processor, by how many there are and whether their agents speak."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from deploy.local.bench.crowd import standing_caller
from deploy.local.bench.figures import Figure, Measured, Verdict, ratio
from deploy.local.bench.process_tree import Cost, cost_of
from deploy.local.bench.row import Bench, Row
from deploy.local.bench.served import LOST_AFTER_S
from deploy.local.bench.subjects import AGENTS, Running, livekit_agents, roompool

COUNTS = (1, 8, 16, 24)
SETTLE_S = 6.0
"""After the last caller's coming: longer than the recording of the silent, and than what a join stirs up."""
LOOK_S = 8.0
GIVE_UP_AFTER = 2
"""So many callers in a row whom nobody served, and nobody else will be."""

OURS = roompool("roompool, 1 carrier")
TWO = roompool("roompool, 2 carriers", carriers=2)
SUBJECTS = (OURS, TWO, livekit_agents())
MEMORY, CPU, CPU_EACH = "memory (PSS)", "CPU", "CPU a call"


@dataclass(slots=True)
class _Seen:
    """Of one subject in one case, over all rounds."""

    memory_mb: list[float] = field(default_factory=list)
    cpu_percent: list[float] = field(default_factory=list)
    cpu_each_percent: list[float] = field(default_factory=list)
    lost: int = 0
    processes: int = 0


async def run(bench: Bench) -> Sequence[Measured]:
    """Each subject silent and speaking, in each round."""
    seen: dict[tuple[str, str], _Seen] = defaultdict(_Seen)
    for number in range(bench.repeat):
        for is_speaking in (False, True):
            for subject in SUBJECTS:
                word = "speaking" if is_speaking else "silent"
                bench.tell(f"  round {number + 1}: {subject.name}, {word}")
                run_dir = bench.run_dir / f"density-{number}-{word}-{SUBJECTS.index(subject)}"
                async with subject.start(bench, run_dir, is_speaking) as running:
                    await _fill(bench, running, subject.name, word, seen)
    return [
        Measured(
            subject=subject,
            case=case,
            figures={
                MEMORY: Figure("MB", tuple(one.memory_mb)),
                CPU: Figure("% of a core", tuple(one.cpu_percent)),
                CPU_EACH: Figure("% of a core", tuple(one.cpu_each_percent)),
            },
            lost=one.lost,
            processes=one.processes,
        )
        for (subject, case), one in seen.items()
    ]


async def _fill(bench: Bench, running: Running, subject: str, word: str, seen: dict[tuple[str, str], _Seen]) -> None:
    """Callers come one after the other; at each count all stand still and are looked at."""
    served = lost = misses = 0
    async with AsyncExitStack() as callers:
        for count in COUNTS:
            while served + lost < count and misses < GIVE_UP_AFTER:
                async with AsyncExitStack() as caller:
                    is_served = await caller.enter_async_context(standing_caller(running, served_within_s=LOST_AFTER_S))
                    if is_served:  # else it leaves, so that nobody is served late and unseen
                        callers.push_async_exit(caller.pop_all())
                served, lost, misses = served + is_served, lost + (not is_served), 0 if is_served else misses + 1
            await asyncio.sleep(SETTLE_S)
            before = cost_of(running.pid)
            await asyncio.sleep(LOOK_S)
            _note(seen[subject, case_of(count, word)], before, cost_of(running.pid), served=served, lost=lost)
            bench.tell(f"    {case_of(count, word)}: {served} served")


def _note(one: _Seen, before: Cost, after: Cost, *, served: int, lost: int) -> None:
    cpu = after.cpu_percent_since(before, seconds=LOOK_S)
    one.memory_mb.append(after.pss_mb)
    one.cpu_percent.append(cpu)
    one.cpu_each_percent.append(cpu / served if served else float("nan"))
    one.lost += lost
    one.processes = after.processes


def case_of(count: int, word: str) -> str:
    """What a case is called."""
    return f"{count} calls, {word}" if count > 1 else f"1 call, {word}"


def judge(results: Sequence[Measured]) -> Sequence[Verdict]:
    """At sixteen callers, of whom livekit-agents may have served fewer: its memory then is that of fewer calls."""
    silent, speaking = case_of(16, "silent"), case_of(16, "speaking")
    return [
        Verdict("memory at 16, to livekit-agents'", ratio(results, MEMORY, OURS.name, AGENTS, silent), 0.25),
        Verdict("the same, 2 carriers", ratio(results, MEMORY, TWO.name, AGENTS, silent), 0.4),
        Verdict("CPU a call at 16, silent", ratio(results, CPU_EACH, OURS.name, AGENTS, silent), 0.4),
        Verdict("CPU a call at 16, speaking", ratio(results, CPU_EACH, OURS.name, AGENTS, speaking), 0.6),
    ]


ROW = Row(
    name="density",
    what="memory and processor of all processes of the worker at 1, 8, 16 and 24 calls, agent silent and speaking",
    run=run,
    judge=judge,
)
