"""Which event loop a process runs on."""

import asyncio

import pytest

from pool.base.loops import loop_factory


@pytest.mark.parametrize(("is_fast", "module"), [(True, "uvloop"), (False, "asyncio")])
def test_the_loop_is_the_one_asked_for(*, is_fast: bool, module: str) -> None:
    """uvloop's, or Python's own."""

    async def running() -> str:
        return type(asyncio.get_running_loop()).__module__

    with asyncio.Runner(loop_factory=loop_factory(is_fast=is_fast)) as runner:
        assert runner.run(running()).split(".")[0] == module
