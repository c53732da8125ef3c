"""A carrier as its parent starts it."""

import os
from typing import NoReturn

import pytest

from pool.carrier_protocol import CarrierArgs
from pool.child import Child


async def test_without_a_thread_to_be_had_nothing_is_left_and_the_parent_can_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to Python 3.11 the loop waits for each process in a thread: the one that a limit spares may be the process."""

    async def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("asyncio.create_subprocess_exec", refuse)
    before = os.listdir("/dev/fd")
    with pytest.raises(OSError, match="can't start new thread"):
        await Child.start(CarrierArgs("a-1", "a", 0, os.getpid()), 0, env={})
    assert os.listdir("/dev/fd") == before
