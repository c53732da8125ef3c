"""A run of the benchmark: from the options of the command line to the figures."""

import sys
from contextlib import suppress
from pathlib import Path

from livekit import rtc
from redis.exceptions import RedisError

from bridge.caller.errors import CallerError
from deploy.local.bench import table
from deploy.local.bench.agents.environment import python_of_agents
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
    RedisError,
    OSError,
    TimeoutError,
)
"""What ends a row, and no other: something did not come up, did not answer, or did not let a caller in."""


def carry_out(options: Options) -> int:
    """Measure, and print the figures; the exit status. The logs are kept when a row failed, and named."""

    async def run(run_dir: Path, binary: Path) -> int:
        return await run_rows(Bench(run_dir=run_dir, binary=binary, repeat=options.repeat, tell=tell), options)

    def install() -> None:
        if any(load(name).needs_agents for name in options.rows):
            with suppress(CannotMeasure):  # the rows that need it will say so
                python_of_agents(say=tell)

    return measure("bench", run, install=install)


async def run_rows(bench: Bench, options: Options) -> int:
    """Measure each row, and print what was measured; the exit status."""
    reports: list[RowReport] = []
    try:
        await _measure(bench, options, reports)
    finally:  # what was measured is told, whatever ended the rest of it
        if reports:
            sys.stdout.write(table.written(reports, Machine.here(bench.binary), options) + "\n")
    return FAILED if any(one.failed for one in reports) or all(one.skipped for one in reports) else OK


async def _measure(bench: Bench, options: Options, reports: list[RowReport]) -> None:
    """A row after the other, each into `reports`."""
    for name in options.rows:
        row = load(name)
        tell(f"{row.name}: {row.what}")
        try:
            reports.append(await _report(row, bench))
        except* FAILURES as several:
            why = "; ".join(sorted({str(error) or type(error).__name__ for error in leaves(several)}))
            tell(f"error: {row.name}: {why}")
            reports.append(RowReport(row=row.name, what=row.what, failed=why))


async def _report(row: Row, bench: Bench) -> RowReport:
    try:
        measured = await row.run(bench)
    except CannotMeasure as error:
        return RowReport(row=row.name, what=row.what, skipped=str(error))
    return RowReport(row=row.name, what=row.what, measured=measured, verdicts=row.judge(measured))
