"""A failed test shows what the processes of its deployments logged while it ran: elsewhere they are gone with the run.

Any deployment that the test could get at counts: one among its fixtures, and those it made in its `tmp_path`.
"""

import json
import time
from collections import deque
from collections.abc import Generator, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

LINES = 40
"""The last ones of each log."""

LINE_CHARS = 700

ENDINGS_S = 1.0
"""For calls that end with the test's body to be logged as ended, with what was heard in them."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and isinstance(item, pytest.Function) and any(_logs(item.funcargs)):
        time.sleep(ENDINGS_S)
        said = _said(item.funcargs, since=call.start)
        report.sections.append(("what the processes logged meanwhile", "\n".join(said)))
    return report


def _said(fixtures: dict[str, Any], *, since: float) -> list[str]:
    """Lines of every log, oldest first, each with the name of its process."""
    newest = (deque((line for line in _lines(log) if line[0] >= since), LINES) for log in _logs(fixtures))
    return [f"{name}: {text[:LINE_CHARS]}" for _, name, text in sorted(chain.from_iterable(newest))]


def _logs(fixtures: dict[str, Any]) -> Iterator[Path]:
    for value in fixtures.values():
        if isinstance(run_dir := getattr(getattr(value, "stack", None), "run_dir", None), Path):
            yield from run_dir.glob("*/*.log")
    if isinstance(own := fixtures.get("tmp_path"), Path):
        yield from own.glob("*/*/*.log")


def _lines(log: Path) -> Iterator[tuple[float, str, str]]:
    """When, who, what. A line without a time of its own has the one before it: a traceback, a foreign program's."""
    at = 0.0
    for text in log.read_text(errors="replace").splitlines():
        at = _time_of(text) or at
        yield at, log.stem, text


def _time_of(text: str) -> float | None:
    """Of a line of ours, or of LiveKit's; Unix seconds."""
    try:
        stamp = json.loads(text)["timestamp"] if text.startswith("{") else text.partition("\t")[0]
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, KeyError, TypeError):
        return None
