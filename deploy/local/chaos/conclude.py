"""From what was ordered on the command line to the figures: runs the trials, tells them, and keeps what broke."""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bridge.caller.quiet import lower_sdk_lines
from deploy.local.chaos import table
from deploy.local.chaos.fault import leaves
from deploy.local.chaos.faults import BY_NAME
from deploy.local.chaos.form import Form, Ordered
from deploy.local.chaos.run import Order, Runner, is_ok
from deploy.local.chaos.verdict import FaultReport
from deploy.local.ending import FAILED, OK, remove, run_until_signalled
from deploy.local.livekit_binary import NoLiveKitServer, find_or_build
from deploy.local.stack import StackFailed
from deploy.local.valkey import NoValkey
from pool.base import logs


def carry_out(ordered: Ordered) -> int:
    """Try what was ordered, and print the figures; the exit status.

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
    faults = [BY_NAME[name] for name in ordered.faults]
    order = Order(faults=faults, trials=ordered.trials, seed=ordered.seed, run_dir=run_dir, binary=binary)
    tell(f"{len(faults)} faults, {ordered.trials} trials of each, --seed {ordered.seed}")
    status = run_until_signalled(lambda: _run(order, ordered), at_once=lambda: None)
    if status == FAILED:
        tell(f"kept: {run_dir}")
    else:
        remove(run_dir)
    return status


async def _run(order: Order, ordered: Ordered) -> int:
    reports: list[FaultReport] = []
    try:
        reports = await Runner(order, tell).run()
    except* (StackFailed, NoValkey) as several:
        for error in leaves(several):
            tell(f"error: {error}")
    if not reports:
        return FAILED
    sys.stdout.write(_written(reports, ordered) + "\n")
    return OK if is_ok(reports) else FAILED


def _written(reports: Sequence[FaultReport], ordered: Ordered) -> str:
    match ordered.form:
        case Form.JSON:
            figures = [dataclasses.asdict(one) | {"ok": one.ok} for one in reports]
            return json.dumps({"seed": ordered.seed, "ok": is_ok(reports), "faults": figures}, indent=2)
        case Form.MARKDOWN:
            return table.markdown(reports)
        case Form.TEXT:
            return table.text(reports)


def tell(line: str) -> None:
    """A line of progress, for a person: stderr."""
    print(line, file=sys.stderr, flush=True)
