"""How soon an agent is there: one caller after the other."""

from collections.abc import Sequence

from deploy.local.bench.figures import Measured, Verdict, find, ratio
from deploy.local.bench.process_tree import cost_of
from deploy.local.bench.row import Bench, Row
from deploy.local.bench.served import Served, come, measured
from deploy.local.bench.subjects import AGENTS, livekit_agents, roompool

CALLERS = 8
OURS = roompool("roompool, 1 carrier")
PREPARED = roompool("roompool, PREPARE=room_started", prepare=True)
SUBJECTS = (OURS, PREPARED, livekit_agents())


async def run(bench: Bench) -> Sequence[Measured]:
    """Eight callers of each subject in each round, after one that is not counted."""
    came: dict[str, list[Served | None]] = {subject.name: [] for subject in SUBJECTS}
    processes: dict[str, int] = {}
    for number in range(bench.repeat):
        for subject in SUBJECTS:
            bench.tell(f"  round {number + 1}: {subject.name}")
            run_dir = bench.run_dir / f"join-{number}-{SUBJECTS.index(subject)}"
            async with subject.start(bench, run_dir, False) as running:
                await come(running)
                came[subject.name] += [await come(running) for _ in range(CALLERS)]
                processes[subject.name] = cost_of(running.pid).processes
    return [measured(name, served, processes=processes[name]) for name, served in came.items()]


def judge(results: Sequence[Measured]) -> Sequence[Verdict]:
    """Against livekit-agents in the same run."""
    ours, prepared = find(results, OURS.name), find(results, PREPARED.name)
    return [
        Verdict("subscribed, p50 to livekit-agents'", ratio(results, "subscribed", OURS.name, AGENTS), 0.7),
        Verdict("the same, PREPARE=room_started", ratio(results, "subscribed", PREPARED.name, AGENTS), 0.5),
        Verdict("lost", sum(one.lost for one in (ours, prepared) if one is not None), 0),
    ]


ROW = Row(
    name="join",
    what="one caller after the other: from connect() to the agent seen, its track subscribed, its first sound",
    run=run,
    judge=judge,
)
