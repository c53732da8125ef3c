"""`--no-skips`: a skipped test fails, unless it stands in the list below with its reason."""

from collections.abc import Generator, Mapping
from typing import TypeVar

import pytest

MAY_SKIP: Mapping[str, str] = {
    "tests/faults/test_network.py": "needs network namespaces, which root on Linux may make, and few containers",
    "tests/faults/test_partition.py": "the same",
}
"""Tests that may be skipped where `--no-skips` is given: node id (or its beginning) to why that is right."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails, as does a skipped file")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _judged(collector.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _judged(item.config, (yield))


def _judged(config: pytest.Config, report: Report) -> Report:
    """A skip without leave made a failure: where the report is made, so that it is one in every process of a run."""
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if is_skip and config.getoption("--no-skips") and not any(report.nodeid.startswith(leave) for leave in MAY_SKIP):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"SKIPPED WITHOUT LEAVE: {reason}"
    return report
