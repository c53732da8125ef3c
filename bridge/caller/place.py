"""Places the call that was ordered on the command line, and tells a person or a program what came of it."""

import asyncio
import dataclasses
import json
import sys

import typer
from rich.console import Console
from rich.text import Text

from bridge.caller import wav
from bridge.caller.caller import Caller
from bridge.caller.errors import CannotJoin
from bridge.caller.order import Order
from bridge.caller.quiet import lower_sdk_lines
from bridge.caller.report import Report
from bridge.caller.script import Plan, call
from bridge.caller.tape import MAX_S

OK = 0
FAILED = 1
INTERRUPTED = 130


def place(order: Order) -> int:
    """Make the call and return the exit status.

    Raises:
        BadSettings: the WAV file cannot be played.
    """
    speech = wav.hello() if order.wav is None else wav.read_speech(order.wav)
    lower_sdk_lines()
    plan = Plan(speech, wav.interruption(), turns=order.turns, barge_in=order.barge_in, stay_s=order.stay_s)
    try:
        report = asyncio.run(_place(order, plan))
    except CannotJoin as error:
        typer.echo(f"{error}. Cure: {error.cure}.", err=True)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        typer.echo(f"--record {order.record}: cannot be written ({error.strerror}).", err=True)
        return FAILED
    if order.as_json:
        sys.stdout.write(json.dumps(dataclasses.asdict(report), indent=2) + "\n")
    else:
        _conclude(report)
    return OK if report.ok else FAILED


async def _place(order: Order, plan: Plan) -> Report:
    console = Console()

    def tell(at_ms: float, what: str) -> None:
        if not order.as_json:
            console.print(Text.assemble((f"{at_ms:>7.0f} ms  ", "cyan"), what))

    caller = Caller(
        order.url,
        room=order.room,
        key=order.key,
        secret=order.secret,
        identity=order.identity,
        record_max_s=MAX_S if order.record else 0.0,
    )
    report = await call(caller, plan, tell)
    if order.record and caller.tape is not None:
        await asyncio.to_thread(caller.tape.save, order.record)
        tell(report.left_ms, f"recording written to {order.record}")
    return report


def _conclude(report: Report) -> None:
    """A last line for a person: what was heard, or what was not and what to try."""
    console = Console()
    if report.ok:
        after = f"heard {report.agent_heard_after_connect_ms} ms after the caller was in the room"
        console.print(Text.assemble(("ok", "bold green"), f"  one agent, {after}"))
        return
    problems = report.problems or ("the agent was never heard",)
    console.print(Text.assemble(("failed", "bold red"), "  " + "; ".join(problems)))
    if report.agent_heard_ms is None:
        console.print(f"        try: roompool why {report.room}", markup=False, highlight=False)
