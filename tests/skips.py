"""`--no-skips`: a skipped test fails the run, unless it stands in the list below with its reason."""

from collections.abc import Generator, Mapping

import pytest

MAY_SKIP: Mapping[str, str] = {
    "tests/faults/test_network.py": "needs network namespaces, which root on Linux may make, and few containers",
    "tests/faults/test_partition.py": "the same",
}
"""Tests that may be skipped where `--no-skips` is given: node id (or its beginning) to why that is right."""

_SKIPPED = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail the run when a test is skipped")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SKIPPED] = {}


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _note(collector.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _note(item.config, report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _offenders(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, reason in _offenders(terminalreporter.config).items():
        terminalreporter.write_line(f"SKIPPED WITHOUT LEAVE {name}: {reason}", red=True)


def _note(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        config.stash[_SKIPPED][report.nodeid] = reason


def _offenders(config: pytest.Config) -> dict[str, str]:
    if not config.getoption("--no-skips"):
        return {}
    skipped = config.stash[_SKIPPED]
    return {name: why for name, why in skipped.items() if not any(name.startswith(leave) for leave in MAY_SKIP)}
