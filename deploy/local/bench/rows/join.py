"""How soon an agent is there: one caller after the other."""

from collections.abc import Sequence

from deploy.local.bench.figures import Measured, Verdict, find, ratio
from deploy.local.bench.row import Bench, Row
from deploy.local.bench.served import Served, come, measure_coming
from deploy.local.bench.subjects import AGENTS, Running, livekit_agents, roompool

CALLERS = 8
OURS = roompool("roompool, 1 carrier")
PREPARED = roompool("roompool, PREPARE=room_started", prepare=True)
SUBJECTS = (OURS, PREPARED, livekit_agents())


async def run(bench: Bench) -> Sequence[Measured]:
    """Eight callers of each subject in each round, after one that is not counted."""
    return await measure_coming(bench, "join", SUBJECTS, _one_by_one)


async def _one_by_one(running: Running) -> list[Served | None]:
    return [await come(running) for _ in range(CALLERS)]


def judge(results: Sequence[Measured]) -> Sequence[Verdict]:
    """Against livekit-agents in the same run."""
    ours, prepared = find(results, OURS.name), find(results, PREPARED.name)
    return [
        Verdict("subscribed, p50 to livekit-agents'", ratio(results, "subscribed", OURS.name, AGENTS), 0.7),
        Verdict("the same, PREPARE=room_started", ratio(results, "subscribed", PREPARED.name, AGENTS), 0.5),
        Verdict("lost by roompool", sum(one.lost for one in (ours, prepared) if one is not None), 0),
    ]


ROW = Row(
    name="join",
    what="one caller after the other: from connect() to the agent seen, its track subscribed, its first sound",
    run=run,
    judge=judge,
    needs_agents=True,
)
