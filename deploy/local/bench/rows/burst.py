"""How soon agents are there for a crowd that comes at once."""

from collections.abc import Sequence

from deploy.local.bench.figures import Measured, Verdict, find, ratio
from deploy.local.bench.row import Bench, Row
from deploy.local.bench.served import come_together, measure_coming
from deploy.local.bench.subjects import AGENTS, AGENTS_UNLIMITED, livekit_agents, roompool, without_load_limit

CALLERS = 16
OURS = roompool("roompool, 1 carrier")
TWO = roompool("roompool, 2 carriers", carriers=2)
SUBJECTS = (OURS, TWO, livekit_agents(), without_load_limit())


async def run(bench: Bench) -> Sequence[Measured]:
    """One crowd for each subject in each round, after one caller who is not counted."""
    return await measure_coming(bench, "burst", SUBJECTS, lambda running: come_together(running, CALLERS))


def judge(results: Sequence[Measured]) -> Sequence[Verdict]:
    """Of those whom livekit-agents did serve: all sixteen, where it has no load limit."""
    cases = [(AGENTS, OURS, ""), (AGENTS, TWO, ", 2 carriers"), (AGENTS_UNLIMITED, OURS, "")]
    return [
        *(
            Verdict(f"subscribed, p50 to {theirs}'s{which}", ratio(results, "subscribed", ours.name, theirs), 0.5)
            for theirs, ours, which in cases
        ),
        Verdict(
            "lost by roompool", sum(one.lost for one in (find(results, OURS.name), find(results, TWO.name)) if one), 0
        ),
    ]


ROW = Row(
    name="burst",
    what="16 callers at once: the same times of those who were served, and how many were not",
    run=run,
    judge=judge,
    needs_agents=True,
)
