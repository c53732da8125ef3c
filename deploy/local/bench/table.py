"""The figures as a table: for a terminal, for a document, for a program. Pure."""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence

from deploy.local.bench.figures import Figure, RowReport, Verdict
from deploy.local.bench.machine import Machine
from deploy.local.bench.options import Options
from deploy.local.formats import Format

HEADING = ("row", "subject", "case", "figure", "p50", "p95", "max", "unit", "values", "lost", "processes")


def written(reports: Sequence[RowReport], machine: Machine, options: Options) -> str:
    """All that was measured, as it was asked for."""
    match options.format:
        case Format.JSON:
            return json.dumps(as_json(reports, machine, options.repeat), indent=2, allow_nan=False)
        case Format.MARKDOWN:
            return as_markdown(reports, machine)
        case Format.TEXT:
            return as_text(reports, machine)


def as_json(reports: Sequence[RowReport], machine: Machine, repeat: int) -> dict[str, object]:
    """Every value, with its spread; a figure that could not be had is null."""
    return {
        "machine": dataclasses.asdict(machine),
        "repeat": repeat,
        "rows": [
            {
                "row": one.row,
                "what": one.what,
                "skipped": one.skipped,
                "failed": one.failed,
                "measured": [
                    dataclasses.asdict(each)
                    | {"figures": {name: _figure(figure) for name, figure in each.figures.items()}}
                    for each in one.measured
                ],
                "verdicts": [
                    dataclasses.asdict(each) | {"value": _number(each.value), "is_reached": each.is_reached}
                    for each in one.verdicts
                ],
            }
            for one in reports
        ],
    }


def as_markdown(reports: Sequence[RowReport], machine: Machine) -> str:
    """Two tables: what was measured, and what was wanted."""
    measured = [HEADING, ("---",) * len(HEADING), *(row for one in reports for row in _rows(one))]
    wanted = [("row", "reach", "wanted", "measured", ""), ("---",) * 5, *(_verdicts(reports))]
    tables = ["\n".join("| " + " | ".join(row) + " |" for row in rows) for rows in (wanted, measured)]
    notes = "\n".join(f"- {note}" for one in reports for note in _notes(one))
    return "\n\n".join(part for part in (str(machine), *tables, notes) if part)


def as_text(reports: Sequence[RowReport], machine: Machine) -> str:
    """The same for a terminal, with every note."""
    parts = [str(machine)]
    for one in reports:
        lines = [f"\n{one.row}: {one.what}"]
        if one.measured:
            lines += _columns([HEADING[1:], *(row[1:] for row in _rows(one))])
        lines += [f"  {note}" for note in _notes(one)]
        if one.verdicts:
            lines += _columns([row[1:] for row in _verdicts([one])])
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _notes(report: RowReport) -> Iterable[str]:
    """Why a row has no figures, or what its figures cannot say for themselves."""
    if report.skipped:
        yield f"{report.row} was skipped: {report.skipped}"
    if report.failed:
        yield f"{report.row} failed: {report.failed}"
    yield from (f"note: {note}" for one in report.measured for note in one.notes)


def _rows(report: RowReport) -> Iterable[tuple[str, ...]]:
    for one in report.measured:
        for name, figure in one.figures.items() or {"": Figure("", ())}.items():
            spread = figure.spread
            numbers = [_shown(value) for value in (spread.p50, spread.p95, spread.max)] if spread else ["-"] * 3
            yield (
                report.row, one.subject, one.case, name, *numbers, figure.unit, str(len(figure.values)), str(one.lost),
                str(one.processes or "-"),
            )  # fmt: skip


def _verdicts(reports: Sequence[RowReport]) -> Iterable[tuple[str, ...]]:
    for report in reports:
        for one in report.verdicts:
            sign = ">=" if one.at_least else "<="
            yield report.row, one.text, f"{sign} {_shown(one.limit)}", _told(one), _word(one)


def _told(verdict: Verdict) -> str:
    """With a digit more where it would seem to be the limit and is not."""
    shown = _shown(verdict.value)
    return f"{verdict.value:.4g}" if shown == _shown(verdict.limit) and verdict.value != verdict.limit else shown


def _word(verdict: Verdict) -> str:
    return "reached" if verdict.is_reached else "not measured" if math.isnan(verdict.value) else "missed"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _figure(figure: Figure) -> dict[str, object]:
    spread = figure.spread
    told = dataclasses.asdict(spread) if spread else {"count": 0, "p50": None, "p95": None, "max": None}
    told = {name: value if value is None else _number(value) for name, value in told.items()}
    return {"unit": figure.unit, **told, "values": [_number(value) for value in figure.values]}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float) -> str:
    """Three digits that mean something."""
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
