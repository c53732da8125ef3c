"""Redis' clock was an hour fast and is put right: nothing waits for the hour to pass again."""

from collections.abc import Awaitable
from typing import cast

import pytest
from redis.asyncio import Redis

from pool.registry import Again, NoGrant, Renewal, Rooms, Standing
from tests.pool.registry.world import World, held

HOUR_MS = 3_600_000


def set_back(world: World) -> None:
    world.clock.now -= HOUR_MS


async def wait_one_grace(world: World) -> None:
    """Owners get one ttl to come back, as after a loss of data."""
    await world.pass_ms(world.times.ttl_ms + 1, sweep=True)


async def test_the_grace_of_an_empty_redis_does_not_last_an_hour(world: World) -> None:
    """First contact with the fast clock, then it is put right: a room made before waits one ttl, a new one none."""
    await world.lose_data()
    await world.touch()
    set_back(world)

    await world.arrive("old", sid="RM_old", created=world.clock.now - 500)
    await world.arrive("new", sid="RM_new", created=world.clock.now)
    assert (await world.look("old")).standing is Standing.HELD_BACK
    assert (await world.claim()).room == "new"
    await world.finish("new", sid="RM_new")
    await wait_one_grace(world)

    assert (await world.claim()).room == "old"


async def test_an_owner_that_lives_keeps_its_room(world: World) -> None:
    """The clock is no reason to take a call from its carrier, also where others come first."""
    await world.arrive()
    grant = await world.claim()
    set_back(world)

    await world.rooms.due()
    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]
    await world.pass_ms(world.times.ttl_ms - 1, sweep=True)
    assert (await world.look()).owner == "one"


async def test_a_lease_whose_owner_died_ends_within_a_ttl_and_a_grace(world: World) -> None:
    """It was to end an hour from now by the clock as it is."""
    await world.arrive()
    await world.claim()
    set_back(world)

    await wait_one_grace(world)
    await wait_one_grace(world)

    assert (await world.claim("two")).room == "demo"


async def test_a_back_off_lasts_no_longer_than_the_longest(world: World) -> None:
    """And the time that the room has waited is none of the future."""
    await world.arrive()
    for _ in range(2):
        grant = await world.claim()
        await world.rooms.release("one", "demo", grant.fence, Again(failed=True, bar_ms=30_000))
        await world.pass_ms(1)
        await world.redis.hdel(world.key("room:demo"), "bar:one")  # type: ignore[misc]
    assert (await world.look()).standing is Standing.BACKING_OFF
    set_back(world)

    await world.pass_ms(max(world.times.backoff_ms) + world.times.ttl_ms, sweep=True)

    grant = await world.claim()
    assert grant.room == "demo"
    assert grant.waited_ms >= 0


async def test_a_bar_lasts_no_longer_than_the_window_of_attempts(world: World) -> None:
    """Where there is one carrier, it gets its room back."""
    await world.arrive()
    grant = await world.claim()
    await world.rooms.release("one", "demo", grant.fence, Again(failed=False, bar_ms=30_000))
    set_back(world)
    await wait_one_grace(world)
    assert await world.rooms.claim_next("one", capacity=8) is NoGrant.NOTHING

    await world.pass_ms(world.times.attempts_window_ms, sweep=True)

    assert (await world.claim()).room == "demo"


async def hset(redis: Redis, key: str, **fields: str) -> None:
    await cast(Awaitable[int], redis.hset(key, mapping=dict(fields)))


@pytest.mark.parametrize("garbage", ["99999999999998", "9e15", "nan", "-inf", "soon", ""])
async def test_no_garbage_in_the_times_of_the_grace_holds_rooms_up(world: World, garbage: str) -> None:
    """Whatever a hand wrote there, a room waits one ttl at most."""
    await world.arrive()
    for fields in (("grace_until", "lost_at", "lost_until"), ("at", "grace_until", "lost_at", "lost_until")):
        await hset(world.redis, world.key("alive"), **dict.fromkeys(fields, garbage))
        await world.rooms.due()
        await wait_one_grace(world)

        assert (await world.look()).standing is Standing.WAITING
        alive = await cast(Awaitable[dict[str, str]], world.redis.hgetall(world.key("alive")))
        assert all(int(value) <= world.clock.now + world.times.ttl_ms for value in alive.values())


async def test_it_is_counted(world: World) -> None:
    """So that whoever asks why calls waited can see it."""
    set_back(world)
    await world.touch()
    await world.touch()

    assert await Rooms(world.redis, prefix=world.prefix).counters() == {"clocks_set_back": 1}
