"""A run of the benchmark: what becomes of its rows when one of them fails."""

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from deploy.local.bench import campaign
from deploy.local.bench.figures import Measured
from deploy.local.bench.options import Options
from deploy.local.bench.row import Bench, CannotMeasure, Row
from deploy.local.formats import Format

Told = tuple[object, list[dict[str, str]]]
RunRows = Callable[..., Awaitable[Told]]


def row(name: str, error: BaseException | None = None) -> Row:
    """One that measures nothing, or ends like this."""

    async def run(_bench: Bench) -> Sequence[Measured]:
        if error is not None:
            raise error
        return []

    return Row(name=name, what="", run=run, judge=lambda _measured: [])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunRows:
    """Run these rows; the exit status, or the error, and the rows that were told."""

    async def run_them(*rows: Row) -> Told:
        named = {one.name: one for one in rows}
        monkeypatch.setattr(campaign, "load", named.__getitem__)
        bench = Bench(run_dir=tmp_path, binary=Path("true"), repeat=1, tell=lambda _line: None)
        status: object
        try:
            status = await campaign.run_rows(bench, Options(rows=tuple(named), repeat=1, format=Format.JSON))
        except ValueError as error:
            status = error
        return status, json.loads(capfd.readouterr().out)["rows"]

    return run_them


async def test_a_row_that_fails_does_not_keep_the_others(run: RunRows) -> None:
    """It says why, and the exit status tells."""
    rows = [row("cannot", CannotMeasure("no room")), row("falls", ConnectionRefusedError("over")), row("stands")]
    status, told = await run(*rows)
    assert status == 1
    assert [(one["row"], one["skipped"], one["failed"]) for one in told] == [
        ("cannot", "no room", ""),
        ("falls", "", "over"),
        ("stands", "", ""),
    ]


async def test_what_was_measured_is_told_whatever_ends_the_run(run: RunRows) -> None:
    """An error that nobody thought of."""
    status, told = await run(row("stands"), row("breaks", ValueError("a mistake of ours")), row("never"))
    assert str(status) == "a mistake of ours"
    assert [one["row"] for one in told] == ["stands"]
