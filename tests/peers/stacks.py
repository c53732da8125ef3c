"""All of roompool as a user runs it, for tests that need every process.

`--set NAME=VALUE` has their receivers and workers run with that setting.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from deploy.local.formats import settings_of
from deploy.local.stack import Stack, StackOptions

StackFactory = Callable[..., AbstractAsyncContextManager[Stack]]


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "a setting of all receivers and workers that run as a user runs them, unless the test sets it otherwise"
    parser.addoption("--set", action="append", dest="settings", metavar="NAME=VALUE", help=what)


def pytest_configure(config: pytest.Config) -> None:
    try:
        settings_of(config.getoption("settings"))
    except typer.BadParameter as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Mapping[str, str]:
    """What `--set` says."""
    return settings_of(pytestconfig.getoption("settings"))


@pytest.fixture
def stack_factory(tmp_path: Path, livekit_binary: Path, settings: Mapping[str, str]) -> StackFactory:
    """`async with stack_factory(workers=2, capacity=1) as stack:`; takes what `StackOptions` takes.

    Its configuration, data and logs stay in the test's temporary folder, for whoever looks into a failure.
    """
    made = 0

    def make(**options: object) -> AbstractAsyncContextManager[Stack]:
        nonlocal made
        made += 1
        usual = StackOptions(run_dir=tmp_path / f"stack-{made}", binary=livekit_binary, settings=settings)
        return Stack.start(replace(usual, **options))  # type: ignore[arg-type]

    return make
