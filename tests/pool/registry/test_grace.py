"""After Redis was away, or lost its data: owners come back first, and nobody's call is reshuffled."""

import pytest

from pool.registry import Again, Gone, Held, NoGrant, Noted, Renewal, Rooms, Standing
from pool.registry.connect import lease_redis
from tests.pool.registry.world import BEGINNING_UNIX_MS, Clock, World, held

TTL_MS = 3000


async def test_after_silence_the_owner_comes_back_first(world: World) -> None:
    """A lease that ended while nobody reached Redis is not given away for one ttl; its owner may renew it."""
    await world.arrive()
    grant = await world.claim()
    world.silence(8000)

    assert (await world.rooms.due()).claimable == 0
    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING
    assert (await world.look()).standing is Standing.LAPSED
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]
    await world.pass_ms(TTL_MS - 1, sweep=True)
    assert (await world.look()).owner == "one"


async def test_what_others_do_with_redis_does_not_end_the_silence_of_carriers(world: World) -> None:
    """Webhooks, `why` and `ps` go on while no carrier reaches Redis: the owner still comes back first."""
    await world.arrive()
    grant = await world.claim()
    for second in range(8):
        world.silence(1000)
        await world.arrive(who=f"PA_{second}")
        await world.leave("other", sid="RM_o")
        await world.look()
        await world.rooms.rooms()
        await world.carriers.list()
    assert (await world.look()).standing is Standing.LAPSED

    assert (await world.rooms.due()).claimable == 0
    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]
    await world.pass_ms(TTL_MS - 1, sweep=True)
    assert (await world.look()).owner == "one"


@pytest.mark.parametrize("first", ["a sweep", "a claim", "another's renewal"])
async def test_whatever_a_carrier_does_first_the_grace_begins_with_it(world: World, first: str) -> None:
    """Sweep, claim and renewal all say that carriers reach Redis again, and from when."""
    await world.arrive()
    grant = await world.claim()
    world.silence(8000)

    match first:
        case "a sweep":
            await world.rooms.due()
        case "a claim":
            await world.rooms.claim_next("two", capacity=8)
        case _:
            await world.rooms.renew("two", [Held("other", "RM_o", 5, 7, {"PA_9": 1})])
    await world.pass_ms(TTL_MS - 1, sweep=True)
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]


async def test_a_loss_that_the_receiver_saw_gives_owners_their_time_from_when_carriers_return(world: World) -> None:
    """Redis restarted empty while only the receiver reached it: rooms wait for their owners, who come late."""
    await world.arrive()
    grant = await world.claim()
    await world.redis.flushall()
    for second in range(8):
        await world.arrive(who=f"PA_{second}")
        world.silence(1000)

    assert (await world.rooms.due()).claimable == 0
    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]


async def test_a_room_made_after_an_arrival_noted_the_loss_waits_for_nobody(redis_url: str, redis_prefix: str) -> None:
    """Also where no carrier has been yet: nobody can have owned it."""
    redis = lease_redis(redis_url)
    world = World(redis, redis_prefix)
    await world.arrive("first", sid="RM_f", created=BEGINNING_UNIX_MS - 1)
    world.clock.now += 60_000

    await world.arrive(created=world.clock.now)

    assert (await world.claim()).room == "demo"
    await redis.aclose()


async def test_after_the_grace_the_room_is_for_the_next(world: World) -> None:
    """An owner that does not come back within one ttl has lost its room."""
    await world.arrive()
    await world.claim()
    world.silence(8000)
    await world.touch()
    await world.pass_ms(TTL_MS, sweep=True)

    assert (await world.claim("two")).room == "demo"


async def test_a_room_nobody_owned_does_not_wait_for_the_grace(world: World) -> None:
    """Grace holds back rooms that had an owner, no others."""
    await world.arrive("waiting", sid="RM_w")
    world.silence(8000)
    await world.arrive("new", sid="RM_n")

    assert [(await world.claim("two")).room for _ in range(2)] == ["waiting", "new"]


async def test_an_arrival_during_the_grace_does_not_give_the_room_away(world: World) -> None:
    """A webhook that comes before the owner does changes nothing for the owner."""
    await world.arrive()
    grant = await world.claim()
    world.silence(8000)

    assert await world.arrive(who="PA_2") is Noted.WAITING
    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]


async def test_ended_leases_count_while_they_may_come_back(world: World) -> None:
    """In the grace a carrier gets no room in place of one that it may still renew."""
    await world.arrive()
    grant = await world.claim(capacity=1)
    await world.arrive("other", sid="RM_o")
    world.silence(8000)

    assert await world.rooms.claim_next("one", capacity=1) is NoGrant.FULL
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]


async def test_an_owner_restores_what_redis_lost(world: World) -> None:
    """From a renewal alone: owner, fence, sid, creation and callers."""
    await world.arrive(joined=5)
    grant = await world.claim()
    await world.redis.flushall()

    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]
    state = await world.look()
    assert (state.owner, state.fence, state.sid) == ("one", grant.fence, "RM_1")
    assert (state.created_unix_ms, state.callers) == (BEGINNING_UNIX_MS, {"PA_1": 5})
    assert await world.rooms.release("one", "demo", grant.fence, Gone(grant.callers))


async def test_webhooks_do_not_overtake_an_owner_that_redis_forgot(world: World) -> None:
    """After loss of the data a room created before waits one ttl, in case somebody owns it."""
    await world.arrive()
    grant = await world.claim()
    await world.redis.flushall()

    assert await world.arrive(who="PA_2") is Noted.WAITING
    assert (await world.look()).standing is Standing.HELD_BACK
    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]
    assert set((await world.look()).callers) == {"PA_1", "PA_2"}


async def test_a_room_without_an_owner_waits_one_ttl_after_loss_of_data(world: World) -> None:
    """Nobody came back for it: it is claimable, under a higher fence."""
    await world.arrive()
    old = await world.claim()
    await world.redis.flushall()
    await world.arrive()
    await world.pass_ms(TTL_MS, sweep=True)

    assert (await world.claim("two")).fence > old.fence


async def test_an_empty_redis_does_not_delay_a_new_room(redis_url: str, redis_prefix: str) -> None:
    """A room created after the first touch of a brand-new Redis is claimable at once."""
    redis = lease_redis(redis_url)
    world = World(redis, redis_prefix)
    await world.touch()
    world.clock.now += 1

    await world.arrive(created=world.clock.now)

    assert (await world.claim()).room == "demo"
    await redis.aclose()


async def test_silence_in_the_grace_after_a_loss_renews_that_grace(world: World) -> None:
    """Owners that could not reach Redis in the first grace get another one."""
    await world.arrive()
    await world.claim()
    await world.redis.flushall()
    await world.arrive()
    world.silence(8000)

    assert (await world.rooms.due()).claimable == 0
    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING
    await world.pass_ms(TTL_MS, sweep=True)
    assert (await world.claim("two")).room == "demo"


@pytest.mark.parametrize("first", ["old", "new"])
async def test_of_two_who_remember_the_greater_fence_stays(world: World, first: str) -> None:
    """After a loss both the old and the new owner of a room may come: the new one keeps it, in either order."""
    await world.arrive()
    old = await world.claim("old")
    await world.rooms.release("old", "demo", old.fence, Again(failed=False))
    new = await world.claim("new")
    await world.redis.flushall()

    grants = {"old": old, "new": new}
    for carrier in (first, *(set(grants) - {first})):
        await world.rooms.renew(carrier, [held(grants[carrier])])

    assert await world.rooms.renew("old", [held(old)]) == [Renewal.LOST]
    assert await world.rooms.renew("new", [held(new)]) == [Renewal.MINE]
    assert not await world.redis.exists(world.key("held:old"))


async def test_a_failover_that_lost_the_grant_is_put_right(world: World) -> None:
    """Redis remembers an older fence: the newer owner takes the room back, and the older one has lost it."""
    await world.arrive()
    old = await world.claim("old")
    before = await world.redis.hgetall(world.key("room:demo"))  # type: ignore[misc]
    await world.rooms.release("old", "demo", old.fence, Again(failed=False))
    new = await world.claim("new")
    await world.redis.delete(world.key("room:demo"))
    await world.redis.hset(world.key("room:demo"), mapping=before)  # type: ignore[misc]

    assert await world.rooms.renew("new", [held(new)]) == [Renewal.MINE]
    assert await world.rooms.renew("old", [held(old)]) == [Renewal.LOST]


async def test_a_finished_room_is_not_restored(world: World) -> None:
    """The end of a room outlasts the loss of its state, and whoever still holds it is told."""
    await world.arrive()
    grant = await world.claim()
    await world.redis.flushall()
    await world.finish()

    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.OVER]
    assert await world.rooms.look("demo") is None


async def test_a_later_life_is_not_overwritten_by_the_owner_of_an_earlier(world: World) -> None:
    """After a loss, a webhook of the new life came first: the old owner's room is over."""
    await world.arrive()
    grant = await world.claim()
    await world.redis.flushall()
    await world.arrive(sid="RM_2", created=BEGINNING_UNIX_MS + 1, who="PA_2")

    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.OVER]
    assert (await world.look()).sid == "RM_2"


async def test_an_earlier_life_gives_way_to_the_owner_of_a_later(world: World) -> None:
    """After a loss, a late webhook of the old life came first: the owner of the new one puts it right."""
    await world.arrive(sid="RM_2", created=BEGINNING_UNIX_MS + 1, who="PA_2")
    grant = await world.claim()
    await world.redis.flushall()
    await world.arrive(sid="RM_1")

    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]
    state = await world.look()
    assert (state.sid, set(state.callers)) == ("RM_2", {"PA_2"})


async def test_redis_own_clock_is_used_unless_a_test_gives_one(redis_url: str, redis_prefix: str) -> None:
    """In production times come from Redis."""
    redis = lease_redis(redis_url)
    rooms = Rooms(redis, prefix=redis_prefix)
    await rooms.due()
    seconds, micros = await redis.time()

    assert await rooms.renew("one", [Held("demo", "RM_1", 5, 7, {})]) == [Renewal.MINE]

    state = await rooms.look("demo")
    assert state is not None
    assert state.until_unix_ms is not None
    assert 0 <= state.until_unix_ms - TTL_MS - (seconds * 1000 + micros // 1000) < 10_000
    assert Clock()() != state.now_unix_ms
    await redis.aclose()
