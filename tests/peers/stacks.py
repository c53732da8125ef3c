"""All of roompool as a user runs it, for tests that need every process."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.stack import Stack, StackOptions

StackFactory = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def stack_factory(tmp_path: Path, livekit_binary: Path) -> StackFactory:
    """`async with stack_factory(workers=2, capacity=1) as stack:`; takes what `StackOptions` takes.

    Its configuration, data and logs stay in the test's temporary folder, for whoever looks into a failure.
    """
    made = 0

    def make(**options: object) -> AbstractAsyncContextManager[Stack]:
        nonlocal made
        made += 1
        usual = StackOptions(run_dir=tmp_path / f"stack-{made}", binary=livekit_binary)
        return Stack.start(replace(usual, **options))  # type: ignore[arg-type]

    return make
