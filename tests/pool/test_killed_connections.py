"""Every connection to Redis is killed, ten times a second, while rooms come, are claimed and are held."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from deploy.local.valkey import Valkey
from pool.client import PoolClient, PoolUnreachable
from pool.contract import Arrived
from pool.registry import Standing
from tests.pool.holder import Holder, Woken

KILL_EVERY_S = 0.1
KILLING_S = 8.0
ROOMS = 20
WITHIN_S = 40.0

pytestmark = pytest.mark.timeout(120)


async def test_nothing_is_lost(valkey: Valkey) -> None:
    """Each room ends up with this one owner, no lease is lost in between, and the queue outlives every blow."""
    stop = asyncio.Event()
    async with Holder.of(valkey.url, "one") as holder, PoolClient.open(valkey.url) as client:
        woken = Woken(holder)
        async with asyncio.timeout(WITHIN_S + KILLING_S), asyncio.TaskGroup() as group:
            queue = group.create_task(woken.run(valkey.url, stop))
            loops = [group.create_task(loop) for loop in (holder.renew_forever(), holder.claim_forever())]
            killing = group.create_task(kill_for(valkey.url, KILLING_S))
            for number in range(ROOMS):
                await submit(client, f"r{number}")
                await asyncio.sleep(KILLING_S / ROOMS)
            kills = await killing
            while len(holder.grants) < ROOMS:  # one whose grant was not heard of comes again when its lease has ended
                await holder.granted.get()
            for _ in range(5):
                holder.renewed.clear()
                await holder.renewed.wait()
            for loop in loops:
                loop.cancel()
            stop.set()
            await queue
        states = [await holder.rooms.look(f"r{number}") for number in range(ROOMS)]
    assert kills > KILLING_S / KILL_EVERY_S / 2
    assert holder.failures, "no blow was felt"
    assert woken.times, "no job came through"
    assert holder.lost == []
    assert sorted(holder.grants) == sorted(f"r{number}" for number in range(ROOMS))
    assert {(state.standing, state.owner) for state in states if state is not None} == {(Standing.OWNED, "one")}
    assert [state.fence for state in states if state is not None] == [
        holder.grants[f"r{number}"].fence for number in range(ROOMS)
    ]


async def submit(client: PoolClient, room: str) -> None:
    """As LiveKit does: again, the same, until it is taken."""
    now = int(time.time() * 1000)
    note = Arrived(room, f"RM_{room}", now, participant_sid=f"PA_{room}", joined_unix_ms=now)
    while True:
        try:
            await client.submit(note)
            return
        except PoolUnreachable:
            await asyncio.sleep(0.05)


async def kill_for(url: str, seconds: float) -> int:
    """Kill every connection but our own, over and over; how often."""
    kills = 0
    until = time.monotonic() + seconds
    async with Redis.from_url(url) as redis:
        while time.monotonic() < until:
            await redis.client_kill_filter(_type="normal", skipme=True)
            kills += 1
            await asyncio.sleep(KILL_EVERY_S)
    return kills
