"""The end of a carrier, or of its work, as its parent or a person says; and whom a death is blamed on."""

from dataclasses import replace

import pytest

from pool.registry import Again, Grant, Held, NoGrant, Renewal, Standing
from tests.pool.registry.world import World, held


async def claim_rooms(world: World, number: int, carrier: str = "one") -> list[Grant]:
    grants = []
    for index in range(number):
        await world.arrive(f"room-{index}", sid=f"RM_{index}")
        grants.append(await world.claim(carrier))
    return grants


async def test_a_reaped_carriers_rooms_wait_at_once(world: World) -> None:
    """All of them, and nobody else's; the story says so, and the attempt counts."""
    await claim_rooms(world, 2)
    await world.arrive("other", sid="RM_other")
    await world.claim("two")

    assert await world.carriers.reap("one") == ["room-0", "room-1"]

    assert await world.redis.zrange(world.key("waiting"), 0, -1) == ["room-0", "room-1"]
    assert (await world.look("other")).owner == "two"
    assert (await world.told("room-0"))[-2:] == ["reaped", "waiting"]
    again = await world.claim("two")
    assert (again.attempt, again.waited_ms) == (2, 0)
    assert await world.carriers.reap("one") == []


async def test_reaping_waits_for_no_grace(world: World) -> None:
    """After Redis was away owners come back first; this one is known not to."""
    [grant] = await claim_rooms(world, 1)
    world.silence(world.times.ttl_ms + 1)
    await world.touch()
    assert (await world.look(grant.room)).standing is Standing.LAPSED

    assert await world.carriers.reap("one") == [grant.room]
    assert (await world.look(grant.room)).standing is Standing.WAITING


async def test_what_a_reaped_carrier_still_says_has_no_effect(world: World) -> None:
    """A claim in a socket's buffer finds the cordon, a renewal finds the room lost, a beat does not lift it."""
    [grant] = await claim_rooms(world, 1)
    await world.carriers.reap("one")

    assert await world.rooms.claim_next("one", capacity=8) is NoGrant.CORDONED
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.LOST]
    assert not await world.rooms.release("one", grant.room, grant.fence, Again(failed=False))
    assert await world.beat("one")
    assert await world.rooms.claim_next("one", capacity=8) is NoGrant.CORDONED
    assert (await world.claim("two")).room == grant.room


async def test_a_reaped_carrier_stands_by_for_nobody(world: World) -> None:
    """Its reservation is free, and the owner's next question finds somebody else."""
    [grant] = await claim_rooms(world, 1)
    await world.stand_by(grant)

    assert await world.carriers.reap("two") == []
    assert (await world.look(grant.room)).next is None
    assert await world.members("standby:two") == set()


async def test_a_reaped_owners_offer_is_void(world: World) -> None:
    """Whoever stood by for it may claim the room like anybody."""
    [grant] = await claim_rooms(world, 1)
    await world.stand_by(grant)
    await world.carriers.reap("one")

    assert (await world.rooms.due(carrier="two")).offers == ()
    assert (await world.claim("two", capacity=1)).room == grant.room


async def test_nobody_knows_the_reaped_carrier(world: World) -> None:
    """A cordon is laid all the same, for the claim that may be on its way."""
    assert await world.carriers.reap("unheard") == []
    assert await world.rooms.claim_next("unheard", capacity=8) is NoGrant.CORDONED


@pytest.mark.parametrize("name", ["held:one", "standby:one", "carrier:one", "drained:worker-of-one"])
async def test_a_stranger_on_its_keys_stops_no_reaping(world: World, name: str) -> None:
    """What was in the key is lost; leases then end by themselves."""
    await world.beat("one")
    [grant] = await claim_rooms(world, 1)
    await world.redis.delete(world.key(name))
    await world.redis.set(world.key(name), "stranger", px=60_000)

    rooms = await world.carriers.reap("one")

    assert rooms == ([] if name == "held:one" else [grant.room])
    await world.pass_ms(world.times.ttl_ms, sweep=True)
    assert (await world.claim("two")).room == grant.room


@pytest.mark.parametrize("is_reaped", [True, False])
async def test_a_poison_room_is_quarantined_and_its_neighbours_are_not(world: World, is_reaped: bool) -> None:
    """Whoever claims it dies at once; a room that had been held for ten seconds by then waits for nothing each time."""
    await world.arrive("neighbour", sid="RM_n")
    for deaths in (1, 2, 3):
        carrier = f"carrier-{deaths}"
        good = await world.claim(carrier)
        assert good.room == "neighbour"
        await world.keep(good, world.times.settled_ms, carrier)
        await world.arrive("poison", sid="RM_p")
        assert (await world.claim(carrier)).room == "poison"
        if is_reaped:
            assert await world.carriers.reap(carrier) == ["neighbour", "poison"]
        else:
            await world.pass_ms(world.times.ttl_ms, sweep=True)
        assert (await world.look("neighbour")).standing is Standing.WAITING
        await world.pass_ms(5000, sweep=True)
        poison = await world.look("poison")
        assert poison.standing is (Standing.QUARANTINED if deaths == 3 else Standing.WAITING)

    neighbour = await world.look("neighbour")
    assert (neighbour.standing, neighbour.attempts) == (Standing.WAITING, ())
    assert neighbour.excused == ()


async def test_a_death_while_joining_is_blamed_on_the_rooms_being_joined(world: World) -> None:
    """Not on a young call in the same process that goes well: it would else be moved along into quarantine."""
    await world.arrive("neighbour", sid="RM_n")
    for deaths in (1, 2, 3):
        carrier = f"carrier-{deaths}"
        young = await world.claim(carrier)
        assert young.room == "neighbour"
        await world.rooms.renew(carrier, [replace(held(young), callers={"PA_1": world.clock.now})])
        await world.arrive("poison", sid="RM_p")
        assert (await world.claim(carrier)).room == "poison"
        assert await world.carriers.reap(carrier) == ["neighbour", "poison"]
        await world.pass_ms(5000, sweep=True)

    assert (await world.look("poison")).standing is Standing.QUARANTINED
    neighbour = await world.look("neighbour")
    assert (neighbour.standing, neighbour.attempts) == (Standing.WAITING, ())


async def test_a_death_in_rooms_that_all_went_well_is_blamed_on_the_young_ones(world: World) -> None:
    """Nothing tells which of them it was."""
    await world.arrive()
    grant = await world.claim()
    await world.rooms.renew("one", [replace(held(grant), callers={"PA_1": world.clock.now})])
    await world.carriers.reap("one")

    assert len((await world.look()).attempts) == 1


async def test_a_death_just_before_it_had_settled_counts(world: World) -> None:
    """When the last renewal came is what is known; the lease's end says nothing about when the carrier died."""
    await world.arrive()
    grant = await world.claim()
    await world.keep(grant, world.times.settled_ms - 1)
    await world.pass_ms(world.times.ttl_ms, sweep=True)

    state = await world.look()
    assert (len(state.attempts), len(state.excused)) == (1, 0)


async def test_a_drained_workers_carriers_are_told_and_get_nothing(world: World) -> None:
    """From now on, whether or not they have heard; other workers' are not concerned."""
    for carrier in ("one", "two"):
        assert not await world.beat(carrier, worker="w")
    assert not await world.beat("three")
    await world.arrive()

    assert await world.carriers.drain("w") == 2

    assert await world.rooms.claim_next("one", capacity=8) is NoGrant.DRAINING
    assert await world.beat("two", worker="w")
    assert not await world.beat("three")
    assert {seen.carrier.id: seen.drained for seen in await world.carriers.list()} == {
        "one": True,
        "two": True,
        "three": False,
    }
    assert (await world.claim("three")).room == "demo"
    assert 86_000_000 < await world.redis.pttl(world.key("drained:w")) <= 86_400_000


async def test_a_carrier_born_into_a_drained_worker_drains(world: World) -> None:
    """Its parent may have restarted it before it heard."""
    assert await world.carriers.drain("w") == 0

    assert await world.beat("one", worker="w")
    assert await world.rooms.claim_next("one", capacity=8) is NoGrant.DRAINING


async def test_a_cordoned_carrier_is_told_to_drain(world: World) -> None:
    """It will get nothing any more."""
    await world.carriers.cordon("one")

    assert await world.beat("one")


async def test_an_owner_that_drains_keeps_what_it_has(world: World) -> None:
    """A drain ends no call."""
    await world.beat("one")
    [grant] = await claim_rooms(world, 1)
    await world.carriers.drain("worker-of-one")

    sees = Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, {})
    assert await world.rooms.renew("one", [sees]) == [Renewal.MINE]
