"""Handing a room over: one script, one owner before and one after."""

import asyncio
from collections.abc import Awaitable
from typing import cast

import pytest

from pool.registry import Again, Gone, Grant, Release, Renewal, Rested, Rooms, Standing
from tests.pool.registry.world import World, held


@pytest.fixture
async def grant(world: World) -> Grant:
    """A room that `one` owns."""
    await world.beat("one")
    await world.arrive()
    return await world.claim()


async def renew(world: World, carrier: str, grant: Grant) -> Renewal | Exception:
    [answer] = await world.rooms.renew(carrier, [held(grant)])
    return answer


async def test_a_pass_leaves_exactly_one_owner(world: World, grant: Grant) -> None:
    """The fence rises, the lease is fresh, the try is the same one; the old owner is told and has no more say."""
    await world.rooms.remember("one", "demo", grant.fence, ["a"])
    await world.stand_by(grant)
    await world.rooms.remember("one", "demo", grant.fence, ["b"])
    await world.pass_ms(700)

    fence = await world.rooms.pass_on("one", "demo", grant.fence)

    state = await world.look()
    assert fence is not None and fence > grant.fence
    assert (state.owner, state.fence, state.until_unix_ms) == ("two", fence, world.clock.now + world.times.ttl_ms)
    assert len(state.attempts) == 1
    assert (state.next, await world.members("standby:two"), await world.members("held:one")) == (None, set(), set())
    taken = await world.rooms.await_pass("two", "demo", grant.fence, limit_s=5)
    assert taken is not None
    assert (taken.room, taken.sid, taken.fence, taken.callers) == ("demo", "RM_1", fence, grant.callers)
    assert (taken.memory, taken.attempt, taken.waited_ms) == (("a", "b"), 1, 0)
    assert taken.wanted_unix_ms == grant.wanted_unix_ms

    assert await renew(world, "one", grant) is Renewal.PASSED
    assert await renew(world, "two", taken) is Renewal.MINE
    assert await renew(world, "one", grant) is Renewal.PASSED
    assert await world.rooms.pass_on("one", "demo", grant.fence) is None
    assert (await world.decisions())[-1].facts == {
        "carrier": "one",
        "fence": str(grant.fence),
        "next": "two",
        "next_fence": str(fence),
    }


@pytest.mark.parametrize("how", [Again(failed=False), Again(failed=True), Rested({"PA_1": 1}), Gone({"PA_1": 1})])
async def test_the_old_owners_release_changes_nothing(world: World, grant: Grant, how: Release) -> None:
    """Nor does what it remembers."""
    await world.passed(grant)
    before = await world.snapshot()

    assert not await world.rooms.release("one", "demo", grant.fence, how)
    assert not await world.rooms.remember("one", "demo", grant.fence, ["late"])
    assert await world.snapshot() == before


async def test_nothing_is_passed_before_somebody_is_ready(world: World, grant: Grant) -> None:
    """An offer alone is no promise; the owner keeps the room."""
    await world.beat("two")
    await world.rooms.offer("one", "demo", grant.fence)

    assert await world.rooms.pass_on("one", "demo", grant.fence) is None
    assert await renew(world, "one", grant) is Renewal.MINE


async def test_only_the_owner_passes_and_under_its_fence_alone(world: World, grant: Grant) -> None:
    """Somebody else, or the owner under a fence of before, changes nothing though the next is ready."""
    await world.stand_by(grant)
    before = await world.snapshot()

    for carrier, fence in (("one", grant.fence - 1), ("one", grant.fence + 1), ("two", grant.fence)):
        assert await world.rooms.pass_on(carrier, "demo", fence) is None
        assert not await world.rooms.withdraw(carrier, "demo", fence)
    for carrier, fence in (("two", grant.fence - 1), ("two", grant.fence + 1), ("one", grant.fence)):
        assert not await world.rooms.stand_ready(carrier, "demo", fence)
        assert not await world.rooms.decline(carrier, "demo", fence)
    assert await world.snapshot() == before


@pytest.mark.parametrize("what", ["cordoned", "reaped", "drains", "silent", "gone", "drained"])
async def test_nothing_is_passed_to_whom_it_would_be_lost(world: World, grant: Grant, what: str) -> None:
    """Between its word and the pass the next may die, or be told to leave: the room stays."""
    await world.stand_by(grant)
    match what:
        case "cordoned":
            await world.carriers.cordon("two")
        case "reaped":
            assert await world.carriers.reap("two") == []
        case "drains":
            await world.beat("two", draining=True)
        case "silent":
            await world.keep(grant, 6001)
        case "gone":
            await world.carriers.gone("two")
        case _:
            await world.carriers.drain("worker-of-two")

    assert await world.rooms.pass_on("one", "demo", grant.fence) is None
    assert (await world.look()).owner == "one"


async def test_a_room_to_be_hung_up_is_not_passed(world: World, grant: Grant) -> None:
    """The person's wish is for the call, not for its owner: nobody takes it over."""
    await world.stand_by(grant)
    await world.rooms.hangup("demo")

    assert await world.rooms.pass_on("one", "demo", grant.fence) is None
    assert (await world.rooms.offer("one", "demo", grant.fence)).next is None
    assert await renew(world, "one", grant) is Renewal.HANG_UP


async def test_the_next_hears_of_the_pass_at_once(world: World, grant: Grant) -> None:
    """It waits on Redis, not on a timer."""
    await world.stand_by(grant)

    async with asyncio.TaskGroup() as group:
        waits = group.create_task(world.rooms.await_pass("two", "demo", grant.fence, limit_s=5))
        while (await clients_blocked(world)) == 0:  # noqa: ASYNC110 (Redis tells nobody)
            await asyncio.sleep(0.005)
        fence = await world.rooms.pass_on("one", "demo", grant.fence)

    taken = waits.result()
    assert taken is not None and taken.fence == fence


async def clients_blocked(world: World) -> int:
    return int((await world.redis.info("clients"))["blocked_clients"])


async def test_a_wait_ends_with_its_limit(world: World, grant: Grant) -> None:
    """The offer may stand for longer."""
    await world.stand_by(grant)

    assert await world.rooms.await_pass("two", "demo", grant.fence, limit_s=0.05) is None
    assert (await world.look()).next == "two"


async def test_a_wait_ends_with_the_offer(world: World, grant: Grant) -> None:
    """Withdrawn while the next waits: it hears of it within one block, long before its limit."""
    await world.stand_by(grant)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waits = group.create_task(world.rooms.await_pass("two", "demo", grant.fence, limit_s=600))
        while (await clients_blocked(world)) == 0:  # noqa: ASYNC110 (Redis tells nobody)
            await asyncio.sleep(0.005)
        await world.rooms.withdraw("one", "demo", grant.fence)

    assert waits.result() is None


async def test_a_grant_whose_answer_was_lost_is_still_there(world: World, grant: Grant) -> None:
    """Asked again it is the same, for `pass_ms` and no longer."""
    taken = await world.passed(grant)

    assert await world.rooms.await_pass("two", "demo", grant.fence, limit_s=5) == taken
    left_ms = await world.redis.pttl(world.key(f"passed:two:demo:{grant.fence}"))
    assert 0 < left_ms <= world.times.pass_ms


@pytest.mark.parametrize("when", ["before", "while waiting"])
async def test_a_stranger_where_the_grant_comes_by_stops_nobody(world: World, grant: Grant, when: str) -> None:
    """A key of another type is dropped by who waits, and by the pass."""
    await world.stand_by(grant)
    key = world.key(f"passed:two:demo:{grant.fence}")
    await world.redis.set(key, "stranger")
    if when == "before":
        assert await world.rooms.await_pass("two", "demo", grant.fence, limit_s=0.01) is None
        await world.redis.set(key, "stranger")

    assert await world.rooms.pass_on("one", "demo", grant.fence)
    assert await world.rooms.await_pass("two", "demo", grant.fence, limit_s=5) is not None


async def test_a_room_is_passed_from_hand_to_hand(world: World, grant: Grant) -> None:
    """The owner before this one is told that it was passed, those before that it is lost."""
    second = await world.passed(grant)
    await world.beat("one", draining=True)
    third = await world.passed(second, "three", owner="two")

    assert await renew(world, "one", grant) is Renewal.LOST
    assert await renew(world, "two", second) is Renewal.PASSED
    assert await renew(world, "three", third) is Renewal.MINE


async def test_a_next_that_dies_at_once_is_replaced_like_any_owner(world: World, grant: Grant) -> None:
    """Its lease ends, and the room is claimed; the same try of it counts once. The one before the last has lost."""
    await world.passed(grant)
    await world.pass_ms(world.times.ttl_ms, sweep=True)

    again = await world.claim("three")

    assert again.attempt == 2
    assert await renew(world, "one", grant) is Renewal.LOST


async def test_the_old_owner_may_get_the_room_again(world: World, grant: Grant) -> None:
    """Under its new fence it is the owner, under the old one it is not."""
    taken = await world.passed(grant)
    assert await world.rooms.release("two", "demo", taken.fence, Again(failed=False))
    again = await world.claim("one")

    assert await renew(world, "one", grant) is Renewal.LOST
    assert await renew(world, "one", again) is Renewal.MINE


async def test_a_room_that_is_over_is_not_passed(world: World, grant: Grant) -> None:
    """And who passed it in time is told that it is over."""
    await world.stand_by(grant)
    await world.finish()
    assert await world.rooms.pass_on("one", "demo", grant.fence) is None
    assert await renew(world, "one", grant) is Renewal.OVER


async def test_the_death_of_a_settled_owner_after_a_pass_is_no_attempt(world: World, grant: Grant) -> None:
    """The next owner's death counts from when it got the room."""
    taken = await world.passed(grant)
    await world.keep(taken, world.times.settled_ms, "two")

    assert await world.carriers.reap("two") == ["demo"]
    state = await world.look()
    assert (len(state.attempts), len(state.excused), state.standing) == (0, 0, Standing.WAITING)


# -- Redis loses its data in the middle


async def lose_data(world: World) -> None:
    await world.lose_data()
    world.clock.now += 10
    await world.touch()


async def test_data_lost_before_the_pass_leaves_the_room_with_its_owner(world: World, grant: Grant) -> None:
    """The offer is gone, both sides are told, and the owner comes back."""
    await world.stand_by(grant)
    await lose_data(world)

    assert await world.rooms.pass_on("one", "demo", grant.fence) is None
    assert await world.rooms.await_pass("two", "demo", grant.fence, limit_s=5) is None
    assert await renew(world, "one", grant) is Renewal.MINE


@pytest.mark.parametrize("first", ["one", "two"])
async def test_data_lost_after_the_pass_leaves_the_room_to_the_greater_fence(
    world: World, grant: Grant, first: str
) -> None:
    """Both believe in it, as the old owner never heard that it was passed: whoever comes first, the next one has it."""
    taken = await world.passed(grant)
    await lose_data(world)

    if first == "one":
        assert await renew(world, "one", grant) is Renewal.MINE  # Redis cannot know better yet
    assert await renew(world, "two", taken) is Renewal.MINE
    assert await renew(world, "one", grant) is Renewal.LOST
    assert (await world.look()).owner == "two"


async def test_a_grant_lost_with_the_data_leaves_the_room_to_the_next_claim(world: World, grant: Grant) -> None:
    """The old owner heard that it was passed and is leaving, the next one never did: the room waits one grace."""
    await world.stand_by(grant)
    assert await world.rooms.pass_on("one", "demo", grant.fence)
    await lose_data(world)

    assert await world.rooms.await_pass("two", "demo", grant.fence, limit_s=5) is None
    await world.arrive()
    assert (await world.look()).standing is Standing.HELD_BACK
    await world.pass_ms(world.times.ttl_ms + 1, sweep=True)
    assert (await world.claim("three")).fence > grant.fence


async def test_a_failover_that_forgot_the_pass_ends_the_same_way(world: World, grant: Grant) -> None:
    """The replica still has the old owner: the next one's greater fence wins, and the old one has lost."""
    await world.stand_by(grant)
    replica = await world.dump()
    assert await world.rooms.pass_on("one", "demo", grant.fence)
    taken = await world.rooms.await_pass("two", "demo", grant.fence, limit_s=5)
    assert taken is not None
    await world.restore(replica)

    assert await renew(world, "two", taken) is Renewal.MINE
    assert await renew(world, "one", grant) is Renewal.LOST
    state = await world.look()
    assert (state.owner, state.next) == ("two", None)
    assert await world.members("standby:two") == set()


async def test_a_script_of_a_verb_survives_that_redis_forgot_it(world: World, grant: Grant) -> None:
    """As every verb's."""
    await world.stand_by(grant)
    await world.redis.script_flush()

    assert await world.rooms.pass_on("one", "demo", grant.fence)


@pytest.mark.parametrize(
    "text", ["{", "null", "[]", '{"a":1}', '["granted","demo","RM_1",0,1,1,0,0,"[]",0,[]]', "[" * 9000, b"\xff"]
)
async def test_what_a_stranger_put_where_the_grant_comes_is_dropped(
    world: World, grant: Grant, text: str | bytes
) -> None:
    """It raises nothing, which would end the stand-by or its whole carrier; the pass puts the grant in its place."""
    await world.stand_by(grant)
    key = world.key(f"passed:two:demo:{grant.fence}")
    await cast(Awaitable[int], world.redis.rpush(key, text, text))
    assert await world.rooms.await_pass("two", "demo", grant.fence, limit_s=0.01) is None
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(world.rooms.await_pass("two", "demo", grant.fence, limit_s=5))
        await asyncio.sleep(0.1)
        fence = await world.rooms.pass_on("one", "demo", grant.fence)
    taken = waiting.result()
    assert taken is not None and taken.fence == fence


async def test_prefixes_do_not_meet(world: World, grant: Grant) -> None:
    """Two deployments in one Redis pass on their own rooms."""
    await world.passed(grant)
    other = Rooms(world.redis, prefix="other:", now_ms=world.clock)

    assert await other.await_pass("two", "demo", grant.fence, limit_s=0.01) is None
    assert await cast(Awaitable[int], world.redis.llen(world.key(f"passed:two:demo:{grant.fence}"))) == 1
