"""What the demo shows a person: one line a part, one line a step, and the tables at the end.

Plain text in columns of at most a hundred characters, colour only where it carries meaning, the same when piped.
"""

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.local.report import CallMade, Check, Report, Step, What, duration, measured_rows
from deploy.local.stack import Part

WIDTH = 100

LABELS = {
    What.IN_ROOM: "in the room",
    What.WEBHOOK: "webhook received",
    What.CLAIMED: "room claimed",
    What.AGENT_JOINED: "agent joined",
    What.GREETED: "greeting heard",
    What.SPOKE: "caller spoke",
    What.ANSWERED: "reply heard",
    What.INTERRUPTED: "caller interrupts",
    What.VOICE_NOTICED: "interruption noticed",
    What.SILENT: "agent silent",
    What.KILLED: "WORKER KILLED",
    What.CLAIMED_AGAIN: "room claimed again",
    What.JOINED_AGAIN: "new agent joined",
    What.HEARD_AGAIN: "new agent heard",
    What.ANSWERED_AGAIN: "new agent replies",
    What.HUNG_UP: "caller hangs up",
    What.AGENT_GONE: "agent gone",
}

CALLER_STYLES = {"anna": "cyan", "ben": "magenta", "cleo": "blue"}


class Screen:
    """Prints. `stream` is stdout, or stderr when stdout is a program's."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, emoji=False, markup=False, soft_wrap=True)
        self._table_width = min(self._console.width, WIDTH) if stream.isatty() else WIDTH

    def line(self, text: str = "", style: str = "") -> None:
        self._console.print(Text(text, style))

    def head(self, title: str, note: str = "") -> None:
        """The beginning of a section."""
        self._console.print()
        self._console.print(Text.assemble((title, "bold"), ("  " + note if note else "", "dim")))

    def part(self, part: Part) -> None:
        """A part is up."""
        mark = ("  simulated", "yellow") if part.is_simulated else ("", "")
        row = (f"  {part.name:<17}", f"{part.took_s:>7.2f} s  ", (part.detail, "dim"), mark)
        self._console.print(Text.assemble(*row))

    def step(self, step: Step) -> None:
        """A step of a call happened."""
        if step.what is What.KILLED:
            self._console.print()
        loud = {What.KILLED: "bold red"}.get(step.what, "")
        took = duration(step.took_ms)
        note = f"after {step.since}" if step.since else ""
        note += (", " if note and step.detail else "") + step.detail
        row = (
            (f"  {step.caller:<5}", CALLER_STYLES.get(step.caller, "")),
            (f"{step.at_ms / 1000:>8.2f} s  ", "dim"),
            (f"{LABELS[step.what]:<22}", loud),
            (f"{took:>8}", "bold"),
            ("  " + note, "dim"),
        )
        self._console.print(Text.assemble(*row))

    def failed(self, caller: str, problem: str) -> None:
        """A caller's script broke off."""
        row = ((f"  {caller:<5}", CALLER_STYLES.get(caller, "")), f"{'':>12}", ("FAILED", "bold red"), f"  {problem}")
        self._console.print(Text.assemble(*row))

    def error(self, text: str, *, logs: str = "") -> None:
        """What went wrong, in one line and what belongs to it, and where to look."""
        first, _, rest = text.partition("\n")
        self._console.print(Text.assemble(("error  ", "bold red"), first))
        if rest:
            self._console.print(Text(rest, "dim"))
        if logs:
            self._console.print(Text(f"       logs: {logs}"))

    def conclude(self, report: Report, what_is_real: Sequence[tuple[str, str, str]]) -> None:
        """The tables after the script."""
        self.head("Measured", "from inside the rooms and from the programs' own log lines")
        self._console.print(self._measured(report.calls))
        self.head("Real and simulated")
        self._console.print(self._reality(what_is_real))
        self.head("Checked")
        for check in report.checks:
            self._check(check)

    def _measured(self, calls: Sequence[CallMade]) -> Table:
        table = self._table()
        table.add_column("")
        for call in calls:
            table.add_column(call.caller, justify="right", style="bold", min_width=8, no_wrap=True)
        table.add_column("counted from", style="dim")
        for name, since, times in measured_rows(calls):
            table.add_row(name, *times, since)
        return table

    def _reality(self, rows: Sequence[tuple[str, str, str]]) -> Table:
        table = self._table(show_header=False)
        for _ in range(3):
            table.add_column()
        for name, kind, what in rows:
            table.add_row(name, Text(kind, "yellow" if kind == "simulated" else "green"), Text(what, "dim"))
        return table

    def _table(self, *, show_header: bool = True) -> Table:
        return Table(box=None, show_header=show_header, header_style="", padding=(0, 2, 0, 2), width=self._table_width)

    def _check(self, check: Check) -> None:
        mark = ("  ok      ", "green") if check.ok else ("  FAILED  ", "bold red")
        self._console.print(Text.assemble(mark, check.name, f": {check.detail}" if check.detail else ""))
        if check.cure:
            self._console.print(Text(f"          {check.cure}", "dim"))
