"""The figures as a table: for a terminal, and for `docs/guarantees.md`. Pure."""

from collections.abc import Sequence

from deploy.local.chaos.verdict import FaultReport
from deploy.local.spread import Spread

HEADING = (
    "fault",
    "trials",
    "calls",
    "moved",
    "joined again, s",
    "heard again, s",
    "hand-over gap, s",
    "pass to sound, s",
    "two present, s",
    "two audible",
    "lost",
    "reshuffled",
    "unended",
    "silence, s",
)
LEGEND = """Times are p50 / p95 / max, from the fault on, or from the caller's coming where callers come during it.
moved            calls with which another agent went on
hand-over gap    from the last frame of one agent to the first of the next
pass to sound    from the moment in which the one fell silent for good to the first frame of the next
two present      seconds with two agents in one room: of all calls together, and the longest
reshuffled       calls that moved without need, or more often than needed
unended          voice sessions that a living process left without session.end
silence          the longest that a caller heard, from the fault to its end or the next agent's first sound"""


def cells(one: FaultReport) -> tuple[str, ...]:
    """One row."""
    if one.skipped:
        return (one.fault, "skipped", *[""] * (len(HEADING) - 2))
    return (
        one.fault,
        str(one.trials),
        str(one.calls),
        str(one.moved),
        _spread(one.joined),
        _spread(one.heard),
        _spread(one.hand_over),
        _spread(one.passed),
        f"{one.together_s:.2f}, {one.together_max_s:.2f}" if one.together_s else "0",
        f"{one.audible_together_s * 1000:.0f} ms" if one.audible_together_s else "0",
        str(one.lost),
        str(one.reshuffled),
        str(one.unended),
        "-" if one.silence_max_s is None else f"{one.silence_max_s:.1f}",
    )


def text(reports: Sequence[FaultReport]) -> str:
    """Columns for a terminal, and what they mean."""
    rows = [HEADING, *map(cells, reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADING))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", LEGEND])


def markdown(reports: Sequence[FaultReport]) -> str:
    """The same rows for a document."""
    rows = [HEADING, ("---",) * len(HEADING), *map(cells, reports)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _spread(spread: Spread | None) -> str:
    return "-" if spread is None else str(spread)
