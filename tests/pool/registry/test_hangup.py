"""A person ends a call."""

import pytest

from pool.registry import Again, Gone, Grant, HangUp, NoGrant, Release, Renewal, Rested, Standing
from tests.pool.registry.world import World, held


async def renew(world: World, grant: Grant, carrier: str = "one") -> Renewal | Exception:
    [answer] = await world.rooms.renew(carrier, [held(grant)])
    return answer


async def test_the_owner_is_told_until_it_rests_the_room(world: World) -> None:
    """Its lease is extended meanwhile; then nobody but a newer caller wakes the room."""
    await world.arrive(joined=5)
    grant = await world.claim()

    assert await world.rooms.hangup("demo") is HangUp.ASKED
    await world.pass_ms(900)
    assert await renew(world, grant) is Renewal.HANG_UP
    assert await renew(world, grant) is Renewal.HANG_UP
    assert (await world.look()).until_unix_ms == world.clock.now + world.times.ttl_ms
    assert await world.rooms.release("one", "demo", grant.fence, Rested({"PA_1": 5}))

    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING
    await world.arrive(who="PA_2", joined=6)
    again = await world.claim("two")
    assert await renew(world, again, "two") is Renewal.MINE
    assert "hangup_asked" in await world.told()


@pytest.mark.parametrize("how", [Again(failed=False), Again(failed=True), Again(failed=True, counts=False)])
async def test_an_owner_that_gives_the_room_back_ends_the_call_too(world: World, how: Release) -> None:
    """Somebody else shall not go on with what a person wants ended."""
    await world.arrive()
    grant = await world.claim()
    await world.rooms.remember("one", "demo", grant.fence, ["a"])
    await world.rooms.hangup("demo")

    assert await world.rooms.release("one", "demo", grant.fence, how)

    state = await world.look()
    assert (state.standing, state.hangup_unix_ms) == (Standing.RESTED, None)
    assert not await world.redis.exists(world.key("memory:RM_1"))


async def test_callers_who_left_before_are_gone_as_ever(world: World) -> None:
    """A release that says so clears the wish: it was for that call."""
    await world.arrive()
    grant = await world.claim()
    await world.rooms.hangup("demo")
    await world.rooms.release("one", "demo", grant.fence, Gone(grant.callers))
    await world.arrive(who="PA_2")

    again = await world.claim("two")
    assert await renew(world, again, "two") is Renewal.MINE


@pytest.mark.parametrize("is_reaped", [True, False])
async def test_an_owner_that_dies_first_ends_the_call_too(world: World, is_reaped: bool) -> None:
    """It may have died of the call."""
    await world.arrive()
    await world.claim()
    await world.rooms.hangup("demo")

    if is_reaped:
        await world.carriers.reap("one")
    else:
        await world.pass_ms(world.times.ttl_ms, sweep=True)

    assert (await world.look()).standing is Standing.RESTED
    await world.arrive(who="PA_2", joined=world.clock.now + 1)
    assert (await world.claim("two")).room == "demo"


async def test_a_room_that_waits_rests(world: World) -> None:
    """For all who are in it now; its memory goes."""
    await world.arrive(joined=5)
    await world.arrive(who="PA_2", joined=7)

    assert await world.rooms.hangup("demo") is HangUp.RESTED
    assert await world.rooms.claim_next("one", capacity=8) is NoGrant.NOTHING
    await world.arrive(who="PA_3", joined=7)
    assert (await world.look()).standing is Standing.RESTED
    await world.arrive(who="PA_4", joined=8)
    assert await renew(world, await world.claim()) is Renewal.MINE
    assert "hung_up" in await world.told()


async def test_a_room_whose_owner_is_dead_rests(world: World) -> None:
    """Nobody may have noticed yet that its lease has ended."""
    await world.arrive()
    await world.claim()
    await world.pass_ms(world.times.ttl_ms)

    assert await world.rooms.hangup("demo") is HangUp.RESTED
    assert "lease_ended" in await world.told()


async def test_an_owner_that_may_come_back_is_asked(world: World) -> None:
    """After Redis was away its lease has lapsed; it is told, or never comes and the room rests."""
    await world.arrive()
    await world.claim()
    world.silence(world.times.ttl_ms + 1)
    await world.touch()

    assert await world.rooms.hangup("demo") is HangUp.ASKED
    await world.pass_ms(world.times.ttl_ms, sweep=True)
    assert (await world.look()).standing is Standing.RESTED


async def test_an_owner_redis_has_forgotten_is_told_when_it_comes_back(world: World) -> None:
    """After loss of data the room seems to wait; the wish is for whoever holds it."""
    await world.arrive(joined=5)
    grant = await world.claim()
    await world.lose_data()
    await world.touch()
    await world.arrive(joined=5)

    assert await world.rooms.hangup("demo") is HangUp.RESTED
    assert await renew(world, grant) is Renewal.HANG_UP


async def test_a_quarantined_room_rests_when_it_is_lifted(world: World) -> None:
    """Both are a person's word."""
    await world.arrive()
    for _ in range(3):
        grant = await world.claim()
        await world.rooms.release("one", "demo", grant.fence, Again(failed=True))
        await world.pass_ms(5000, sweep=True)
    assert (await world.look()).standing is Standing.QUARANTINED

    assert await world.rooms.hangup("demo") is HangUp.RESTED
    assert (await world.look()).standing is Standing.QUARANTINED
    assert await world.rooms.retry("demo")
    assert (await world.look()).standing is Standing.RESTED


@pytest.mark.parametrize("what", ["unknown", "empty", "finished", "corrupt"])
async def test_where_nobody_is_nothing_ends(world: World, what: str) -> None:
    """And nothing changes."""
    if what != "unknown":
        await world.arrive()
    match what:
        case "empty":
            await world.leave()
        case "finished":
            await world.finish()
        case "corrupt":
            await world.redis.hset(world.key("room:demo"), "fence", "many")  # type: ignore[misc]
            assert await world.rooms.look("demo") is None
    before = await world.snapshot()

    assert await world.rooms.hangup("demo") is HangUp.NOBODY
    assert await world.snapshot() == before


async def test_the_wish_outlives_no_room(world: World) -> None:
    """A room that is over, or begins a new life, is asked nothing."""
    await world.arrive()
    await world.claim()
    await world.rooms.hangup("demo")
    await world.arrive(sid="RM_2", created=world.clock.now)

    assert await renew(world, await world.claim("two"), "two") is Renewal.MINE
