"""A campaign: from the options of the command line to the figures, with what broke kept."""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bridge.caller.quiet import lower_sdk_lines
from deploy.local.chaos import table
from deploy.local.chaos.fault import leaves
from deploy.local.chaos.options import Format, Options
from deploy.local.chaos.runner import Runner, is_ok
from deploy.local.chaos.verdict import FaultReport
from deploy.local.ending import FAILED, OK, remove, run_until_signalled
from deploy.local.livekit_binary import NoLiveKitServer, find_or_build
from deploy.local.stack import StackFailed
from deploy.local.valkey import NoValkey
from pool.base import logs


def carry_out(options: Options) -> int:
    """Make the trials, and print the figures; the exit status.

    The folder with the logs is kept when a promise was broken, and named; otherwise it goes.
    """
    logs.configure(level="error", json=False)
    lower_sdk_lines()
    try:
        binary = find_or_build()
    except NoLiveKitServer as error:
        tell(f"error: {error}")
        return FAILED
    run_dir = Path(tempfile.mkdtemp(prefix="roompool-chaos-"))
    tell(f"{len(options.faults)} faults, {options.trials} trials of each, --seed {options.seed}")
    status = run_until_signalled(
        lambda: _run(Runner(options, run_dir, tell, binary=binary), options), at_once=lambda: None
    )
    if status == FAILED:
        tell(f"kept: {run_dir}")
    else:
        remove(run_dir)
    return status


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


def tell(line: str) -> None:
    """A line of progress, for a person: stderr."""
    print(line, file=sys.stderr, flush=True)
