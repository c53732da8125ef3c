"""What calls cost: memory and processor, by how many there are and whether their agents speak."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from deploy.local.bench.crowd import StandingCaller, standing_caller
from deploy.local.bench.figures import Figure, Measured, Verdict, find, ratio
from deploy.local.bench.process_tree import cost_of
from deploy.local.bench.row import Bench, Row
from deploy.local.bench.served import LOST_AFTER_S
from deploy.local.bench.subjects import AGENTS, AGENTS_UNLIMITED, Running, livekit_agents, roompool, without_load_limit

COUNTS = (1, 8, 16, 24)
SETTLE_S = 6.0
"""After the last caller's coming: longer than the recording of the silent, and than what a join stirs up."""
LOOK_S = 8.0
GIVE_UP_AFTER = 2
"""After so many callers in a row whom nobody served no more come: each would wait for as long, and change nothing."""

OURS = roompool("roompool, 1 carrier")
TWO = roompool("roompool, 2 carriers", carriers=2)
SUBJECTS = (OURS, TWO, livekit_agents(), without_load_limit())
MEMORY, CPU, CPU_EACH, SERVED = "memory (PSS)", "CPU", "CPU a call", "served"
CPU_REACH = {"silent": 0.4, "speaking": 0.6}


@dataclass(slots=True)
class _Seen:
    """Of one subject in one case, over all rounds."""

    memory_mb: list[float] = field(default_factory=list)
    cpu_percent: list[float] = field(default_factory=list)
    cpu_each_percent: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost: int = 0
    processes: int = 0


async def run(bench: Bench) -> Sequence[Measured]:
    """Each subject silent and speaking, in each round."""
    seen: dict[tuple[str, str], _Seen] = defaultdict(_Seen)
    for number in range(bench.repeat):
        for is_speaking in (False, True):
            # The other way round each time: the box gets slower or faster as it goes.
            for subject in SUBJECTS if number % 2 == 0 else SUBJECTS[::-1]:
                word = "speaking" if is_speaking else "silent"
                bench.tell(f"  round {number + 1}: {subject.name}, {word}")
                run_dir = bench.run_dir / f"density-{number}-{word}-{SUBJECTS.index(subject)}"
                async with subject.start(bench, run_dir, is_speaking=is_speaking) as running:
                    await _fill(bench, running, subject.name, word, seen)
    return [
        Measured(
            subject=subject,
            case=case,
            figures={
                MEMORY: Figure("MB", tuple(one.memory_mb)),
                CPU: Figure("% of a core", tuple(one.cpu_percent)),
                CPU_EACH: Figure("% of a core", tuple(one.cpu_each_percent)),
                SERVED: Figure("calls", tuple(one.served)),
            },
            lost=one.lost,
            processes=one.processes,
            notes=one.notes,
        )
        for (subject, case), one in seen.items()
    ]


async def _fill(bench: Bench, running: Running, subject: str, word: str, seen: dict[tuple[str, str], _Seen]) -> None:
    """Callers come one after the other; at each count all stand still and are looked at.

    A count for which nobody more came is left out: it would be the one before it, once more.
    """
    crowd: list[StandingCaller] = []
    came = misses = 0
    async with AsyncExitStack() as callers:
        for count in COUNTS:
            came_before = came
            while came < count and misses < GIVE_UP_AFTER:
                came += 1
                async with AsyncExitStack() as coming:
                    caller = await coming.enter_async_context(standing_caller(running))
                    is_served = await caller.wait_served(LOST_AFTER_S)
                    if is_served:  # else it leaves, so that nobody is served late and unseen
                        crowd.append(caller)
                        callers.push_async_exit(coming.pop_all())
                misses = 0 if is_served else misses + 1
            if came == came_before:
                bench.tell(f"    {case_of(count, word)}: left out, nobody more was served")
                continue
            await asyncio.sleep(SETTLE_S)
            one = seen[subject, case_of(count, word)]
            await _look(running, crowd, came, one)
            if came < count:
                one.notes.append(f"{subject}, {case_of(count, word)}: only {came} came, the last of them in vain")
            bench.tell(f"    {case_of(count, word)}: {one.served[-1]:.0f} served of {came} who came")


async def _look(running: Running, crowd: Sequence[StandingCaller], came: int, one: _Seen) -> None:
    """Who is served is asked at the moment of measuring: an agent may have gone again."""
    served = sum(caller.is_served for caller in crowd)
    before, began_at = cost_of(running.pid), asyncio.get_running_loop().time()
    await asyncio.sleep(LOOK_S)
    after, took_s = cost_of(running.pid), asyncio.get_running_loop().time() - began_at
    cpu = after.cpu_percent_since(before, seconds=took_s)
    one.memory_mb.append(after.pss_mb)
    one.cpu_percent.append(cpu)
    if served:
        one.cpu_each_percent.append(cpu / served)
    one.served.append(served)
    one.lost += came - served
    one.processes = after.processes


def case_of(count: int, word: str) -> str:
    """What a case is called."""
    return f"{count} calls, {word}" if count > 1 else f"1 call, {word}"


def judge(results: Sequence[Measured]) -> Sequence[Verdict]:
    """At sixteen callers, of whom livekit-agents may have served fewer: its memory then is that of fewer calls."""
    silent = case_of(16, "silent")
    theirs = find(results, AGENTS, silent)
    few = f", which serves {theirs.figures[SERVED].median:.0f}" if theirs is not None else ""
    memory = [
        Verdict(f"memory at 16, to livekit-agents'{few}", ratio(results, MEMORY, OURS.name, AGENTS, silent), 0.25),
        Verdict("the same, 2 carriers", ratio(results, MEMORY, TWO.name, AGENTS, silent), 0.4),
        Verdict(
            f"memory at 16, to {AGENTS_UNLIMITED}'s", ratio(results, MEMORY, OURS.name, AGENTS_UNLIMITED, silent), 0.25
        ),
    ]
    cases = [
        (count, word, limit, theirs)
        for word, limit in CPU_REACH.items()
        for count, theirs in ((8, AGENTS), (16, AGENTS), (16, AGENTS_UNLIMITED))
    ]
    cpu = [
        Verdict(
            f"CPU a call, {case_of(count, word)}, to {theirs}'s",
            ratio(results, CPU_EACH, OURS.name, theirs, case_of(count, word)),
            limit,
        )
        for count, word, limit, theirs in cases
    ]
    return memory + cpu


ROW = Row(
    name="density",
    what="memory and processor of all processes of the worker at 1, 8, 16 and 24 calls, agent silent and speaking",
    run=run,
    judge=judge,
    needs_agents=True,
)
