"""A call into the SDK is seen through to its end, whatever happens to whoever waits."""

import asyncio

import pytest

from bridge.shield import see_through


async def test_a_cancelled_wait_lets_the_call_end_first() -> None:
    """The cancellation goes on only after the call has ended by itself."""
    started, finish, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def call() -> None:
        started.set()
        await finish.wait()
        ended.set()

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(see_through(call(), name="call", limit_s=10))
        await started.wait()
        waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
        finish.set()
    assert ended.is_set()
    assert waiting.cancelled()


async def test_a_call_without_end_is_left_alone_and_not_cancelled() -> None:
    """After the limit the waiter goes on; the call itself may still end."""
    finish = asyncio.Event()
    ended = asyncio.Event()

    async def call() -> None:
        await finish.wait()
        ended.set()

    with pytest.raises(TimeoutError):
        await see_through(call(), name="call", limit_s=0.01)
    finish.set()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_what_was_asked_is_told_before_it_is_answered() -> None:
    """The call has taken its first step, and still waits."""
    asked, answer, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def call() -> None:
        asked.set()
        await answer.wait()

    def begun() -> None:
        assert asked.is_set()
        told.set()

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(see_through(call(), name="call", limit_s=10, begun=begun))
        await told.wait()
        assert not waiting.done()
        answer.set()


async def test_what_the_call_returns_or_raises_comes_through() -> None:
    """It behaves as an await."""

    async def seven() -> int:
        return 7

    async def broken() -> int:
        raise ValueError("no")

    assert await see_through(seven(), name="seven", limit_s=1) == 7
    with pytest.raises(ValueError, match="no"):
        await see_through(broken(), name="broken", limit_s=1)
