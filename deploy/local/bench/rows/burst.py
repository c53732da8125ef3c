"""How soon agents are there for a crowd that comes at once."""

from collections.abc import Sequence

from deploy.local.bench.figures import Measured, Verdict, find, ratio, ratio_of_first
from deploy.local.bench.process_tree import cost_of
from deploy.local.bench.row import Bench, Row
from deploy.local.bench.served import Served, come, come_together, measured
from deploy.local.bench.subjects import AGENTS, livekit_agents, roompool

CALLERS = 16
OURS = roompool("roompool, 1 carrier")
TWO = roompool("roompool, 2 carriers", carriers=2)
SUBJECTS = (OURS, TWO, livekit_agents())


async def run(bench: Bench) -> Sequence[Measured]:
    """One crowd for each subject in each round, after one caller who is not counted."""
    came: dict[str, list[Served | None]] = {subject.name: [] for subject in SUBJECTS}
    processes: dict[str, int] = {}
    for number in range(bench.repeat):
        for subject in SUBJECTS:
            bench.tell(f"  round {number + 1}: {subject.name}")
            run_dir = bench.run_dir / f"burst-{number}-{SUBJECTS.index(subject)}"
            async with subject.start(bench, run_dir, False) as running:
                await come(running)
                came[subject.name] += await come_together(running, CALLERS)
                processes[subject.name] = cost_of(running.pid).processes
    return [measured(name, served, processes=processes[name]) for name, served in came.items()]


def judge(results: Sequence[Measured]) -> Sequence[Verdict]:
    """Of those whom livekit-agents did serve."""
    return [
        Verdict("subscribed, p50 to livekit-agents'", ratio(results, "subscribed", OURS.name, AGENTS), 0.5),
        Verdict("the same, 2 carriers", ratio(results, "subscribed", TWO.name, AGENTS), 0.5),
        Verdict("as many of ours as they served", ratio_of_first(results, "subscribed", OURS.name, AGENTS), 0.5),
        Verdict("lost", sum(one.lost for one in (find(results, OURS.name), find(results, TWO.name)) if one), 0),
    ]


ROW = Row(
    name="burst",
    what="16 callers at once: the same times of those who were served, and how many were not",
    run=run,
    judge=judge,
)
