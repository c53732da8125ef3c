"""Whose turn it is to join."""

import asyncio
from contextlib import AsyncExitStack

from pool import join_turns
from pool.join_turns import JoinTurns


async def test_a_few_join_at_a_time_in_the_order_of_asking() -> None:
    """The third waits for one of the two before it, and the fourth for the next."""
    turns, began, ends = JoinTurns(2), list[int](), [asyncio.Event() for _ in range(4)]

    async def join(number: int) -> None:
        async with turns.turn():
            began.append(number)
            await ends[number].wait()

    async with asyncio.TaskGroup() as group:
        joins = [group.create_task(join(number)) for number in range(4)]
        await asyncio.sleep(0)
        assert began == [0, 1]
        ends[1].set()
        await joins[1]
        await asyncio.sleep(0)
        assert began == [0, 1, 2]
        for end in ends:
            end.set()
    assert began == [0, 1, 2, 3]


async def test_who_is_cancelled_while_waiting_uses_no_turn() -> None:
    """The next in line gets it."""
    turns = JoinTurns(1)
    async with AsyncExitStack() as first:
        await first.enter_async_context(turns.turn())
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(first_step(turns))
            await asyncio.sleep(0)
            waiting.cancel()
    await first_step(turns)


async def test_a_join_that_hangs_does_not_keep_the_others() -> None:
    """After a while its turn is over, and when it ends at last it gives nothing back twice."""
    turns = JoinTurns(1)
    async with turns.turn():
        async with asyncio.timeout(join_turns.HELD_S + 10):
            await first_step(turns)
    async with turns.turn(), asyncio.TaskGroup() as group:
        waiting = group.create_task(first_step(turns))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()


async def test_without_a_number_nobody_waits() -> None:
    """0 is any number."""
    turns = JoinTurns(0)
    async with turns.turn(), turns.turn():
        await first_step(turns)


async def first_step(turns: JoinTurns) -> None:
    """A join that takes no time."""
    async with turns.turn():
        pass
