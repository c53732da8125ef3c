"""How long callers are without an agent when one is killed, and how little they hear of a hand-over: the chaos suite's
figures, from a few trials of its own.
"""

import secrets
from collections.abc import Mapping, Sequence

from deploy.local.bench.figures import Figure, Measured, Verdict
from deploy.local.bench.row import Bench, Row
from deploy.local.chaos.options import Options
from deploy.local.chaos.runner import Runner
from deploy.local.chaos.verdict import FaultReport
from deploy.local.formats import Format
from deploy.local.spread import Spread

SUBJECT = "roompool"
CARRIER_KILLED, WORKER_KILLED, ROLLING_DEPLOY = "carrier-killed", "worker-killed", "rolling-deploy"
FAULTS = (CARRIER_KILLED, WORKER_KILLED, ROLLING_DEPLOY)

TRIALS = 3
"""Of each fault, for each round of the bench; the chaos suite is for more of them."""

JOINED, HEARD, GAP = "joined again", "heard again", "hand-over gap"
P50, P95, MAX = "p50", "p95", "max"

REACH_S: Sequence[tuple[str, str, str, float]] = (
    (CARRIER_KILLED, JOINED, P50, 0.6),
    (CARRIER_KILLED, HEARD, P50, 1.2),
    (WORKER_KILLED, JOINED, P95, 3.7),
    (WORKER_KILLED, HEARD, P95, 4.7),
    (ROLLING_DEPLOY, GAP, P95, 0.3),
)
"""A carrier's death is seen at once by its parent; a worker's by its leases, which last three seconds."""


async def run(bench: Bench) -> Sequence[Measured]:
    """Three trials of each fault for each round.

    Raises:
        StackFailed, NoValkey: A program did not come up; in an ExceptionGroup.
    """
    options = Options(faults=FAULTS, trials=TRIALS * bench.repeat, seed=secrets.token_hex(4), format=Format.TEXT)
    reports = await Runner(options, bench.run_dir / "faults", bench.tell, binary=bench.binary).run()
    return [_measured(one, options.seed) for one in reports]


def judge(measured: Sequence[Measured]) -> Sequence[Verdict]:
    """What the chaos suite found on an idle machine, with some air; and that nobody was left without an agent."""
    by_fault = {one.case: one for one in measured}
    verdicts = [
        Verdict(f"{fault}: {figure}, {share}, s", _value(by_fault, fault, f"{figure}, {share}"), limit_s)
        for fault, figure, share, limit_s in REACH_S
    ]
    return [*verdicts, Verdict("calls lost", sum(one.lost for one in measured), 0)]


ROW = Row(
    name="faults",
    what="kill -9 of a carrier and of a worker: until the next agent; a rolling deploy: the gap between two agents",
    run=run,
    judge=judge,
)


def _measured(report: FaultReport, seed: str) -> Measured:
    spreads = {JOINED: report.joined, HEARD: report.heard, GAP: report.hand_over}
    return Measured(
        subject=SUBJECT,
        case=report.fault,
        figures={
            f"{name}, {share}": Figure("s", (value_s,))
            for name, spread in spreads.items()
            if spread is not None
            for share, value_s in _shares(spread).items()
        },
        lost=report.lost,
        notes=[
            *([f"skipped: {report.skipped}"] if report.skipped else []),
            f"{report.trials} trials, {report.calls} calls, of which {report.moved} changed hands; seed {seed}",
            *report.broken,
        ],
    )


def _shares(spread: Spread) -> Mapping[str, float]:
    return {P50: spread.p50, P95: spread.p95, MAX: spread.max}


def _value(by_fault: Mapping[str, Measured], fault: str, figure: str) -> float:
    """NaN for what was not measured, with which no reach is reached."""
    one = by_fault.get(fault)
    return one.figures[figure].median if one is not None and figure in one.figures else float("nan")
