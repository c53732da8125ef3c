"""Who gets which room: one grant, in age order, within capacity."""

import asyncio

import pytest

from pool.registry import Again, CarrierRecord, Gone, Grant, NoGrant, Standing
from tests.pool.registry.world import BEGINNING_UNIX_MS, World


def carrier(name: str = "one", *, draining: bool = False) -> CarrierRecord:
    return CarrierRecord(name, "worker", "host", 1, "revision", 8, 0, draining, BEGINNING_UNIX_MS)


async def test_a_grant_says_what_the_carrier_must_know(world: World) -> None:
    """Room, sid, creation, a fence of at least the time, who is there, and since when somebody waits."""
    wanted = world.clock.now
    await world.arrive(created=BEGINNING_UNIX_MS + 5, joined=100)
    await world.arrive(who="PA_2", created=BEGINNING_UNIX_MS + 5, joined=200)
    await world.pass_ms(70)

    grant = await world.claim()

    assert grant == Grant(
        room="demo",
        sid="RM_1",
        created_unix_ms=BEGINNING_UNIX_MS + 5,
        fence=world.clock.now,
        ttl_ms=world.times.ttl_ms,
        attempt=1,
        wanted_unix_ms=wanted,
        queued_unix_ms=wanted,
        claimed_unix_ms=world.clock.now,
        callers={"PA_1": 100, "PA_2": 200},
    )


async def test_a_hundred_carriers_at_once_get_one_grant(world: World) -> None:
    """One room, one instant, a hundred carriers: one owner."""
    await world.arrive()

    async with asyncio.TaskGroup() as group:
        claims = [group.create_task(world.rooms.claim_next(f"carrier-{n}", capacity=1)) for n in range(100)]

    grants = [claim.result() for claim in claims if isinstance(claim.result(), Grant)]
    refusals = [claim.result() for claim in claims if claim.result() is NoGrant.NOTHING]
    assert (len(grants), len(refusals)) == (1, 99)


async def test_the_longest_waiting_room_is_next(world: World) -> None:
    """Rooms are granted in the order in which they were first wanted, whatever arrives in between."""
    for name in ("c", "a", "b"):
        await world.arrive(name, sid=f"RM_{name}")
        await world.pass_ms(10)
    await world.arrive("c", sid="RM_c", who="PA_2")

    assert [(await world.claim()).room for _ in range(3)] == ["c", "a", "b"]


async def test_a_waiting_caller_who_left_is_passed_over(world: World) -> None:
    """A room whose caller has given up is not granted; the next one is."""
    await world.arrive("first", sid="RM_first")
    await world.pass_ms(10)
    await world.arrive("second", sid="RM_second")
    await world.leave("first", sid="RM_first")

    assert (await world.claim()).room == "second"


async def test_capacity_is_a_hard_cap(world: World) -> None:
    """A carrier never owns more rooms than it may, and each release makes room for one."""
    for number in range(3):
        await world.arrive(f"room-{number}", sid=f"RM_{number}")
    first = await world.claim(capacity=2)
    await world.claim(capacity=2)

    assert NoGrant.FULL is await world.rooms.claim_next("one", capacity=2)
    assert await world.rooms.release("one", first.room, first.fence, Gone(first.callers))
    assert (await world.claim(capacity=2)).room == "room-2"


async def test_ended_leases_give_their_capacity_back(world: World) -> None:
    """`in_use` is the number of leases, so what a carrier lost needs no giving back."""
    for number in range(2):
        await world.arrive(f"room-{number}", sid=f"RM_{number}")
    first = await world.claim(capacity=1)
    await world.pass_ms(world.times.ttl_ms + 1)

    again = await world.claim(capacity=1)

    assert {"room-0", "room-1"} >= {first.room, again.room}


async def test_a_carrier_that_drains_gets_nothing(world: World) -> None:
    """What a carrier says in its beat holds for the very next claim."""
    await world.arrive()
    await world.carriers.beat(carrier(draining=True))

    assert NoGrant.DRAINING is await world.rooms.claim_next("one", capacity=8)
    await world.carriers.beat(carrier(draining=False))
    assert (await world.claim()).room == "demo"


async def test_a_cordoned_carrier_gets_nothing_ever_again(world: World) -> None:
    """A cordon outlasts beats, and holds for a carrier that Redis had no record of."""
    await world.arrive()
    await world.carriers.cordon("one")
    await world.carriers.beat(carrier())

    assert NoGrant.CORDONED is await world.rooms.claim_next("one", capacity=8)
    assert (await world.claim("two")).room == "demo"


async def test_a_barred_carrier_leaves_the_room_to_others(world: World) -> None:
    """The bar holds for one carrier, one room and its time; other rooms behind it are granted."""
    await world.arrive("first", sid="RM_first")
    grant = await world.claim()
    await world.rooms.release("one", "first", grant.fence, Again(failed=False, bar_ms=30_000))
    await world.pass_ms(10)
    await world.arrive("second", sid="RM_second")

    assert (await world.claim()).room == "second"
    assert NoGrant.NOTHING is await world.rooms.claim_next("one", capacity=8)
    await world.pass_ms(30_000)
    assert (await world.claim()).room == "first"


async def test_a_bar_holds_for_the_whole_worker_while_another_could_take_the_room(world: World) -> None:
    """Siblings share a machine and a network: whoever could not reach LiveKit is not followed by its sibling."""
    for carrier, worker in (("one", "w1"), ("sibling", "w1"), ("other", "w2")):
        await world.beat(carrier, worker=worker)
    await world.arrive()
    grant = await world.claim("one")
    await world.rooms.release("one", "demo", grant.fence, Again(failed=False, bar_ms=30_000))

    assert await world.rooms.claim_next("sibling", capacity=8) is NoGrant.NOTHING
    assert (await world.claim("other")).room == "demo"


@pytest.mark.parametrize("others", ["none", "full", "draining", "barred", "silent"])
async def test_a_sibling_that_may_be_no_better_is_better_than_nobody(world: World, others: str) -> None:
    """The worker's bar holds only while another worker could take the room now."""
    for carrier in ("one", "sibling"):
        await world.beat(carrier, worker="w1")
    await world.arrive()
    if others != "none":
        await world.beat("other", worker="w2", draining=others == "draining", in_use=8 if others == "full" else 0)
    if others == "barred":
        grant = await world.claim("other")
        await world.rooms.release("other", "demo", grant.fence, Again(failed=False, bar_ms=60_000))
    grant = await world.claim("one")
    await world.rooms.release("one", "demo", grant.fence, Again(failed=False, bar_ms=30_000))
    if others == "silent":
        await world.pass_ms(6001)

    assert (await world.claim("sibling")).room == "demo"


async def test_rooms_behind_many_barred_ones_are_found(world: World) -> None:
    """The walk goes on past more barred rooms than it reads at once."""
    for number in range(40):
        await world.arrive(f"room-{number:02}", sid=f"RM_{number}")
        await world.pass_ms(1)
    for _ in range(40):
        grant = await world.claim(capacity=100)
        await world.rooms.release("one", grant.room, grant.fence, Again(failed=False, bar_ms=30_000))
    await world.arrive("last", sid="RM_last")

    assert (await world.claim()).room == "last"


@pytest.mark.parametrize("damage", ["no state", "another owner", "no callers"])
async def test_the_queue_is_never_believed(world: World, damage: str) -> None:
    """An entry of `waiting` that its room's state does not bear out is dropped, and the next room granted."""
    await world.arrive("first", sid="RM_first")
    await world.pass_ms(10)
    key, waiting = world.key("room:first"), world.key("waiting")
    match damage:
        case "no state":
            await world.redis.delete(key)
        case "another owner":
            await world.claim("two")
            await world.redis.zadd(waiting, {"first": 1})
        case _:
            await world.leave("first", sid="RM_first")
            await world.redis.zadd(waiting, {"first": 1})
    await world.arrive("second", sid="RM_second")

    assert (await world.claim()).room == "second"
    assert await world.redis.zrange(waiting, 0, -1) == []


async def test_fences_rise_also_within_one_millisecond(world: World) -> None:
    """A room's fence grows with every grant, by the clock or by one."""
    await world.arrive()
    fences = []
    for _ in range(3):
        grant = await world.claim()
        fences.append(grant.fence)
        await world.rooms.release("one", "demo", grant.fence, Again(failed=False))

    assert [world.clock.now, world.clock.now + 1, world.clock.now + 2] == fences


async def test_a_claim_takes_the_room_out_of_the_queue(world: World) -> None:
    """What waits is only what may be claimed at once."""
    await world.arrive()
    await world.claim()

    assert Standing.OWNED is (await world.look()).standing
    assert await world.redis.zrange(world.key("waiting"), 0, -1) == []
    assert [("demo", world.clock.now + world.times.ttl_ms)] == await world.redis.zrange(
        world.key("due"), 0, -1, withscores=True
    )


async def test_two_workers_that_both_gave_a_room_up_do_not_bar_each_other(world: World) -> None:
    """Each of them has another carrier, and neither's is better than none."""
    for carrier, worker in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")):
        await world.beat(carrier, worker=worker)
    await world.arrive()
    for carrier in ("a1", "b1"):
        grant = await world.claim(carrier)
        await world.rooms.release(carrier, "demo", grant.fence, Again(failed=False, bar_ms=30_000))

    assert (await world.claim("a2")).room == "demo"
