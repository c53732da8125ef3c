"""A run of the benchmark: from the options of the command line to the figures."""

import sys
from pathlib import Path

from livekit import rtc

from bridge.caller.errors import CallerError
from deploy.local.bench import table
from deploy.local.bench.figures import RowReport
from deploy.local.bench.machine import Machine
from deploy.local.bench.options import Options
from deploy.local.bench.row import Bench, CannotMeasure, Row
from deploy.local.bench.rows import load
from deploy.local.chaos.site import SiteFailed
from deploy.local.ending import FAILED, OK
from deploy.local.measuring import leaves, measure, tell
from deploy.local.processes import NeverSaid, ProcessEnded
from deploy.local.server import ServerFailed
from deploy.local.stack import StackFailed
from deploy.local.valkey import NoValkey

FAILURES = (
    StackFailed,
    NoValkey,
    ServerFailed,
    ProcessEnded,
    NeverSaid,
    SiteFailed,
    CallerError,
    rtc.ConnectError,
    TimeoutError,
)
"""What ends a row, and no other: something did not come up, did not answer, or did not let a caller in."""


def carry_out(options: Options) -> int:
    """Measure, and print the figures; the exit status. The logs are kept when a row failed, and named."""

    async def run(run_dir: Path, binary: Path) -> int:
        return await _run(Bench(run_dir=run_dir, binary=binary, repeat=options.repeat, tell=tell), options)

    return measure("bench", run)


async def _run(bench: Bench, options: Options) -> int:
    reports: list[RowReport] = []
    for name in options.rows:
        row = load(name)
        tell(f"{row.name}: {row.what}")
        try:
            reports.append(await _report(row, bench))
        except* FAILURES as several:
            why = "; ".join(sorted({str(error) or type(error).__name__ for error in leaves(several)}))
            tell(f"error: {row.name}: {why}")
            reports.append(RowReport(row=row.name, what=row.what, failed=why))
    sys.stdout.write(table.written(reports, Machine.here(bench.binary), options) + "\n")
    return FAILED if any(one.failed for one in reports) else OK


async def _report(row: Row, bench: Bench) -> RowReport:
    try:
        measured = await row.run(bench)
    except CannotMeasure as error:
        return RowReport(row=row.name, what=row.what, skipped=str(error))
    return RowReport(row=row.name, what=row.what, measured=measured, verdicts=row.judge(measured))
