"""A campaign: from the options of the command line to the figures, with what broke kept."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local.chaos import table
from deploy.local.chaos.options import Options
from deploy.local.chaos.runner import Runner, is_ok
from deploy.local.chaos.verdict import FaultReport
from deploy.local.ending import FAILED, OK
from deploy.local.formats import Format
from deploy.local.measuring import leaves, measure, tell
from deploy.local.stack import StackFailed
from deploy.local.valkey import NoValkey


def carry_out(options: Options) -> int:
    """Make the trials, and print the figures; the exit status.

    The folder with the logs is kept when a promise was broken, and named; otherwise it goes.
    """

    async def run(run_dir: Path, binary: Path) -> int:
        tell(f"{len(options.faults)} faults, {options.trials} trials of each, --seed {options.seed}")
        return await _run(Runner(options, run_dir, tell, binary=binary), options)

    return measure("chaos", run)


async def _run(runner: Runner, options: Options) -> int:
    reports: list[FaultReport] = []
    try:
        reports = await runner.run()
    except* (StackFailed, NoValkey) as several:
        for error in leaves(several):
            tell(f"error: {error}")
    if not reports:
        return FAILED
    sys.stdout.write(_written(reports, options) + "\n")
    return OK if is_ok(reports) else FAILED


def _written(reports: Sequence[FaultReport], options: Options) -> str:
    match options.format:
        case Format.JSON:
            figures = [dataclasses.asdict(one) | {"ok": one.ok} for one in reports]
            return json.dumps({"seed": options.seed, "ok": is_ok(reports), "faults": figures}, indent=2)
        case Format.MARKDOWN:
            return table.markdown(reports)
        case Format.TEXT:
            return table.text(reports)
