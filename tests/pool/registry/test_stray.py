"""A participant with our identity where no lease is: put out when it was seen twice, and never an owner."""

import pytest

from pool.registry import Again, Grant, Rested
from tests.pool.registry.world import World, held

AGAIN_MS = 4000


async def report(world: World, fence: int | None = 7, *, who: str = "PA_agent", sid: str = "RM_1") -> bool:
    return await world.rooms.stray("demo", sid, who, fence)


async def test_it_is_put_out_when_seen_again(world: World) -> None:
    """Not at the first sight, not too soon after; then until it is gone."""
    assert not await report(world)
    await world.pass_ms(AGAIN_MS - 1)
    assert not await report(world)
    await world.pass_ms(1)
    assert await report(world)
    await world.pass_ms(5000)
    assert await report(world)
    assert "stray" in await world.told()


async def test_each_participant_is_seen_by_itself(world: World) -> None:
    """Another one, or the same name in another life of the room, begins anew."""
    await report(world)
    await world.pass_ms(AGAIN_MS)

    assert not await report(world, who="PA_other")
    assert not await report(world, sid="RM_2")


async def test_an_old_sight_counts_no_more(world: World) -> None:
    """After a minute it begins anew."""
    await report(world)
    await world.pass_ms(60_001)
    assert not await report(world)
    await world.pass_ms(AGAIN_MS)
    assert await report(world)


async def held_room(world: World) -> Grant:
    await world.arrive()
    return await world.claim()


async def test_it_is_never_an_owner(world: World) -> None:
    """Whatever fence it shows, and though it was seen before the room was claimed."""
    await report(world)
    await world.pass_ms(AGAIN_MS)
    grant = await held_room(world)
    for fence in (grant.fence, 7, None):
        assert not await report(world, fence)
    await world.keep(grant, AGAIN_MS)
    assert not await report(world)

    await world.rooms.release("one", "demo", grant.fence, Rested(grant.callers))
    assert not await report(world)  # seen once since it has no owner
    await world.pass_ms(AGAIN_MS)
    assert await report(world)


@pytest.mark.parametrize("how", [Again(failed=False), Again(failed=True)])
async def test_the_last_owner_may_hold_out(world: World, how: Again) -> None:
    """Cut off from Redis it still serves the caller, until somebody else is granted the room."""
    grant = await held_room(world)
    await world.rooms.release("one", "demo", grant.fence, how)
    for _ in range(3):
        assert not await report(world, grant.fence)
        await world.pass_ms(AGAIN_MS, sweep=True)

    assert not await report(world, grant.fence - 1)
    await world.pass_ms(AGAIN_MS)
    assert await report(world, grant.fence - 1)
    again = await world.claim("two")
    assert not await report(world, grant.fence)
    await world.rooms.release("two", "demo", again.fence, Again(failed=False))
    assert not await report(world, grant.fence)
    await world.pass_ms(AGAIN_MS)
    assert await report(world, grant.fence)


async def test_the_last_owner_of_a_room_that_rests_does_not(world: World) -> None:
    """Its call has ended, by its own word."""
    grant = await held_room(world)
    await world.rooms.release("one", "demo", grant.fence, Rested(grant.callers))
    await report(world, grant.fence)
    await world.pass_ms(AGAIN_MS)

    assert await report(world, grant.fence)


@pytest.mark.parametrize("is_lost", [True, False])
async def test_nobody_is_put_out_in_a_grace(world: World, is_lost: bool) -> None:
    """Owners may come back; what was seen in that time does not count either."""
    await report(world)
    if is_lost:
        await world.lose_data()
    else:
        world.silence(AGAIN_MS)
    await world.touch()
    await world.pass_ms(10)
    assert not await report(world)
    await world.pass_ms(world.times.ttl_ms)

    assert await report(world) == (not is_lost)


async def test_a_lease_that_has_lapsed_is_still_its_owners(world: World) -> None:
    """After Redis was away."""
    grant = await held_room(world)
    world.silence(world.times.ttl_ms + 1)
    await world.touch()

    assert not await report(world, 1)
    await world.rooms.renew("one", [held(grant)])
    await world.keep(grant, AGAIN_MS)
    assert not await report(world, 1)


async def test_a_clock_set_back_begins_anew(world: World) -> None:
    """What was seen in the future is no sight."""
    await report(world)
    world.clock.now -= 3_600_000
    await world.touch()
    await world.pass_ms(world.times.ttl_ms + 1)

    assert not await report(world)
    await world.pass_ms(AGAIN_MS)
    assert await report(world)


async def test_a_stranger_where_the_sight_is_noted_stops_nobody(world: World) -> None:
    """It is written over."""
    await world.redis.rpush(world.key("stray:RM_1:PA_agent"), "stranger")  # type: ignore[misc]

    assert not await report(world)
    await world.pass_ms(AGAIN_MS)
    assert await report(world)
