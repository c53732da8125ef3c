"""What the owners of a room remember of its talk, for the next one."""

import pytest

from pool.registry import Again, Gone, Grant, Release, Rested
from tests.pool.registry.world import World, held


@pytest.fixture
async def grant(world: World) -> Grant:
    """A room that `one` owns."""
    await world.arrive()
    return await world.claim()


async def next_memory(world: World, grant: Grant) -> tuple[str, ...]:
    """What the next owner is told, after this one has died."""
    await world.pass_ms(world.times.ttl_ms + 5000, sweep=True)
    return (await world.claim("next")).memory


async def test_the_next_owner_is_told_in_order(world: World, grant: Grant) -> None:
    """Texts are kept as they are, whatever is in them, and several owners add to the same talk."""
    assert grant.memory == ()
    strange = '{"who":"caller"}\n\x00\u20ac'
    assert await world.rooms.remember("one", "demo", grant.fence, ["first", strange])
    assert await world.rooms.remember("one", "demo", grant.fence, [])
    await world.pass_ms(world.times.ttl_ms, sweep=True)
    second = await world.claim("two")
    assert await world.rooms.remember("two", "demo", second.fence, ["third"])

    assert await next_memory(world, second) == ("first", strange, "third")


async def test_the_last_forty_are_kept(world: World, grant: Grant) -> None:
    """However they come: at once, or one by one."""
    for number in range(30):
        await world.rooms.remember("one", "demo", grant.fence, [f"text {number}"])
    await world.rooms.remember("one", "demo", grant.fence, [f"text {number}" for number in range(30, 90)])

    assert await next_memory(world, grant) == tuple(f"text {number}" for number in range(50, 90))


async def test_eight_kilobytes_are_kept(world: World, grant: Grant) -> None:
    """The newest that fit; bytes, not characters."""
    await world.rooms.remember("one", "demo", grant.fence, ["\u20ac" * 1000, "b" * 3000, "c" * 3000, "d" * 2192])
    assert await world.redis.lrange(world.key("memory:RM_1"), 0, -1) == ["b" * 3000, "c" * 3000, "d" * 2192]  # type: ignore[misc]

    await world.rooms.remember("one", "demo", grant.fence, ["e"])
    assert await next_memory(world, grant) == ("c" * 3000, "d" * 2192, "e")


async def test_a_text_too_long_by_itself_costs_no_other(world: World, grant: Grant) -> None:
    """It is left out."""
    await world.rooms.remember("one", "demo", grant.fence, ["before", "x" * 8193, "after"])

    assert await next_memory(world, grant) == ("before", "after")


async def test_only_the_owner_writes(world: World, grant: Grant) -> None:
    """Not a stranger, not under another fence, not after the room was lost, and not when it is over."""
    before = await world.snapshot()
    assert not await world.rooms.remember("two", "demo", grant.fence, ["a"])
    assert not await world.rooms.remember("one", "demo", grant.fence - 1, ["a"])
    assert not await world.rooms.remember("one", "demo", grant.fence + 1, ["a"])
    assert not await world.rooms.remember("one", "elsewhere", grant.fence, ["a"])
    assert await world.snapshot() == before

    await world.pass_ms(world.times.ttl_ms, sweep=True)
    assert not await world.rooms.remember("one", "demo", grant.fence, ["a"])
    again = await world.claim()
    await world.finish()
    assert not await world.rooms.remember("one", "demo", again.fence, ["a"])
    assert not await world.redis.exists(world.key("memory:RM_1"))


async def left_ms(world: World) -> int:
    return int(await world.redis.pttl(world.key("memory:RM_1")))


async def test_it_lives_ten_minutes_from_the_last_renewal(world: World, grant: Grant) -> None:
    """Each renewal sets that anew; nothing else does."""
    await world.rooms.remember("one", "demo", grant.fence, ["a"])
    assert 60_000 < await left_ms(world) <= world.times.memory_ms
    await world.redis.pexpire(world.key("memory:RM_1"), 5000)

    await world.arrive(who="PA_2")
    await world.rooms.due()
    assert await left_ms(world) <= 5000
    await world.rooms.renew("one", [held(grant)])
    assert 60_000 < await left_ms(world) <= world.times.memory_ms


@pytest.mark.parametrize("how", [Rested({"PA_1": 1}), Gone({"PA_1": 1}), Gone({})])
async def test_a_call_that_ends_well_is_forgotten_at_once(world: World, grant: Grant, how: Release) -> None:
    """That talk is over."""
    await world.rooms.remember("one", "demo", grant.fence, ["a"])

    await world.rooms.release("one", "demo", grant.fence, how)

    assert not await world.redis.exists(world.key("memory:RM_1"))


async def test_a_call_that_shall_go_on_is_remembered(world: World, grant: Grant) -> None:
    """Somebody else goes on with it."""
    await world.rooms.remember("one", "demo", grant.fence, ["a"])
    await world.rooms.release("one", "demo", grant.fence, Again(failed=False))

    assert (await world.claim("two")).memory == ("a",)


async def test_a_room_that_is_over_lets_it_expire(world: World, grant: Grant) -> None:
    """The webhook that says so may be wrong about nothing, but is not the one to tidy up."""
    await world.rooms.remember("one", "demo", grant.fence, ["a"])
    await world.finish()

    assert 0 < await left_ms(world) <= world.times.memory_ms


async def test_a_new_life_of_a_name_remembers_nothing(world: World, grant: Grant) -> None:
    """It is another talk, most likely with somebody else."""
    await world.rooms.remember("one", "demo", grant.fence, ["a"])
    await world.arrive(sid="RM_2", created=world.clock.now)

    assert (await world.claim("two")).memory == ()


async def test_a_stranger_where_the_memory_lies_costs_it_and_no_more(world: World, grant: Grant) -> None:
    """Room state goes on; the next text begins anew."""
    key = world.key("memory:RM_1")
    await world.redis.set(key, "stranger")
    await world.rooms.renew("one", [held(grant)])
    assert await next_memory(world, grant) == ()

    state = await world.look()
    await world.redis.set(key, "stranger")
    assert await world.rooms.remember("next", "demo", state.fence, ["a"])
    assert await world.redis.lrange(key, 0, -1) == ["a"]  # type: ignore[misc]


async def test_data_lost_is_memory_lost(world: World, grant: Grant) -> None:
    """The owner goes on and may write again, as its own memory holds more than Redis'."""
    await world.rooms.remember("one", "demo", grant.fence, ["a"])
    await world.lose_data()
    await world.rooms.renew("one", [held(grant)])

    assert await world.rooms.remember("one", "demo", grant.fence, ["b"])
    assert await next_memory(world, grant) == ("b",)


async def test_whoever_comes_after_the_last_caller_hears_nothing_of_that_talk(world: World, grant: Grant) -> None:
    """The owner has died, so that nobody says that the talk is over; the room stands open for the next caller."""
    await world.rooms.remember("one", "demo", grant.fence, ["a secret"])
    await world.leave()
    await world.arrive(who="PA_2")

    assert await next_memory(world, grant) == ()
    assert not await world.redis.exists(world.key("memory:RM_1"))


async def test_a_room_that_is_left_after_its_owner_died_remembers_nothing(world: World, grant: Grant) -> None:
    """Nobody is there for whom somebody might go on."""
    await world.rooms.remember("one", "demo", grant.fence, ["a secret"])
    await world.pass_ms(world.times.ttl_ms, sweep=True)
    await world.leave()
    assert not await world.redis.exists(world.key("memory:RM_1"))


async def test_an_owner_that_waits_for_its_caller_keeps_the_talk(world: World, grant: Grant) -> None:
    """Somebody whose tab crashed comes back as another participant, and the owner has renewed meanwhile."""
    await world.rooms.remember("one", "demo", grant.fence, ["before"])
    await world.leave()
    await world.keep(grant, world.times.emptied_ms)
    await world.arrive(who="PA_2")

    assert await next_memory(world, grant) == ("before",)


async def test_a_talk_of_several_goes_on_with_who_is_left(world: World, grant: Grant) -> None:
    """One of them left before the owner died."""
    await world.rooms.remember("one", "demo", grant.fence, ["before"])
    await world.arrive(who="PA_2")
    await world.leave()

    assert await next_memory(world, grant) == ("before",)


async def test_a_caller_whose_webhook_is_late_was_in_the_talk(world: World, grant: Grant) -> None:
    """The owner has seen them all along, and says so with its next renewal."""
    joined = world.clock.now
    await world.rooms.remember("one", "demo", grant.fence, ["before"])
    world.clock.now += 100
    await world.leave()
    await world.rooms.renew("one", [held(grant, {"PA_2": joined})])

    assert await next_memory(world, grant) == ("before",)


async def test_what_was_said_in_a_room_that_livekit_closed_is_gone(world: World, grant: Grant) -> None:
    """Once nobody holds it: that life never comes back."""
    await world.rooms.remember("one", "demo", grant.fence, ["a secret"])
    await world.finish()
    await world.pass_ms(world.times.ttl_ms, sweep=True)
    assert not await world.redis.exists(world.key("memory:RM_1"))
