"""What the benchmark says of its figures."""

import json
import math

import pytest

from deploy.local.bench.figures import Figure, Measured, RowReport, Verdict, ratio
from deploy.local.bench.machine import Machine
from deploy.local.bench.table import as_json, as_markdown, as_text

MACHINE = Machine(
    date="2026-11-28", processor="a processor", cores=2, memory_gib=24.0, system="Linux", python="3.11",
    livekit="1.2", livekit_server="1.13", valkey="9.0", load=0.5,
)  # fmt: skip


def measured(subject: str, *values: float, case: str = "") -> Measured:
    return Measured(subject=subject, case=case, figures={"time": Figure("ms", values)})


def test_a_ratio_is_that_of_medians() -> None:
    """Of the same figure in the same case."""
    both = [
        measured("ours", 1, 2, 30),
        measured("theirs", 3, 4, 5),
        measured("ours", 9, case="x"),
        measured("theirs, x", 9),
    ]
    assert ratio(both, "time", "ours", "theirs") == 0.5


@pytest.mark.parametrize("theirs", [[], [measured("theirs")]], ids=["nobody", "nothing"])
def test_what_was_not_measured_reaches_nothing(theirs: list[Measured]) -> None:
    """No number stands in for one that is not there, in either sense of a limit."""
    both = [measured("ours", 1), *theirs]
    value = ratio(both, "time", "ours", "theirs")
    assert math.isnan(value)
    assert not Verdict("", value, 1.0).is_reached
    assert not Verdict("", value, 1.0, at_least=True).is_reached


def test_every_figure_is_told_in_every_form() -> None:
    """With its spread, its unit and whether the reach was reached; JSON without NaN, which is none."""
    report = RowReport(
        row="join",
        what="how soon",
        measured=[measured("ours", 1.0, 2.0, 3.0), measured("theirs", math.nan, math.inf)],
        verdicts=[Verdict("fast enough", 2.0, 3.0), Verdict("all but", 0.3004, 0.3), Verdict("unknown", math.nan, 1.0)],
    )
    skipped = RowReport(row="burst", what="a crowd", skipped="no room here")
    failed = RowReport(row="delay", what="how late", failed="it fell over")
    for text in (as_text([report, skipped, failed], MACHINE), as_markdown([report, skipped, failed], MACHINE)):
        assert "a processor" in text
        assert "reached" in text
        assert "0.3004" in text
        assert "not measured" in text
        assert "no room here" in text
        assert "it fell over" in text
    told = json.loads(json.dumps(as_json([report, skipped, failed], MACHINE, 1), allow_nan=False))
    assert told["rows"][0]["measured"][0]["figures"]["time"]["p50"] == 2.0
    assert told["rows"][0]["measured"][1]["figures"]["time"]["values"] == [None, None]
    assert told["rows"][0]["measured"][1]["figures"]["time"]["max"] is None
    assert [one["is_reached"] for one in told["rows"][0]["verdicts"]] == [True, False, False]
    assert told["rows"][1]["skipped"] == "no room here"
    assert told["rows"][2]["failed"] == "it fell over"
