"""Who carries calls: records of carriers, and what `ps` and the reconciler ask."""

from pool.registry import Again, CarrierRecord, CarrierSeen, NoGrant, Rested, Standing
from tests.pool.registry.world import BEGINNING_UNIX_MS, World, held

ONE = CarrierRecord("one", "worker-a", "host-a", 4711, "r7", 8, 1, False, BEGINNING_UNIX_MS)


async def test_a_carrier_is_seen_as_it_said(world: World) -> None:
    """A beat comes back whole, with its age and with the leases Redis counts itself."""
    await world.arrive()
    await world.claim()
    await world.carriers.beat(ONE)
    await world.pass_ms(250)

    assert await world.carriers.list() == [CarrierSeen(ONE, leases=1, cordoned=False, beat_age_ms=250)]


async def test_the_last_beat_comes_first(world: World) -> None:
    """Carriers that fell silent are at the end, and still shown."""
    for name in ("old", "new"):
        await world.carriers.beat(CarrierRecord(name, "", "", 0, "", 1, 0, True, 0))
        await world.pass_ms(10)

    assert [(seen.carrier.id, seen.carrier.draining) for seen in await world.carriers.list()] == [
        ("new", True),
        ("old", True),
    ]


async def test_a_carrier_that_is_gone_is_forgotten(world: World) -> None:
    """Its record goes; a room it held is left to the lease."""
    await world.carriers.beat(ONE)
    await world.arrive()
    await world.claim()

    await world.carriers.gone("one")

    assert await world.carriers.list() == []
    assert (await world.look()).standing is Standing.OWNED


async def test_records_expire(world: World) -> None:
    """A carrier nobody heard of for ten minutes is no longer listed, and leaves nothing behind."""
    await world.carriers.beat(ONE)
    key = world.key("carrier:one")
    assert 0 < await world.redis.pttl(key) <= world.times.carrier_ms
    await world.redis.delete(key)

    assert await world.carriers.list() == []
    assert await world.redis.zcard(world.key("carriers")) == 0


async def test_a_cordon_is_shown(world: World) -> None:
    """Also when nothing else is known of the carrier."""
    await world.carriers.cordon("one")

    [seen] = await world.carriers.list()
    assert (seen.carrier.id, seen.cordoned, seen.carrier.capacity) == ("one", True, 0)


async def test_rooms_are_listed_with_their_ages(world: World) -> None:
    """Waiting ones longest first, then those that are owned or held back."""
    await world.arrive("owned", sid="RM_o")
    await world.claim()
    await world.pass_ms(100)
    await world.arrive("older", sid="RM_1")
    await world.pass_ms(100)
    await world.arrive("younger", sid="RM_2")

    summaries = await world.rooms.rooms()

    assert [(room.room, room.standing, room.owner, room.waited_ms) for room in summaries] == [
        ("older", Standing.WAITING, None, 100),
        ("younger", Standing.WAITING, None, 0),
        ("owned", Standing.OWNED, "one", None),
    ]
    assert (summaries[2].held_ms, summaries[2].lease_left_ms) == (200, world.times.ttl_ms - 200)
    assert [room.room for room in await world.rooms.rooms(limit=1)] == ["older", "owned"]


async def test_the_reconciler_looks_where_nobody_cares(world: World) -> None:
    """Unknown rooms, other lives of a name, and rooms thought empty; not those that are cared for or done with."""
    for name in ("owned", "empty", "quarantined", "waiting"):
        await world.arrive(name, sid=f"RM_{name}")
    await world.leave("empty", sid="RM_empty")
    grant = await world.claim()
    assert grant.room == "owned"
    for _ in range(3):
        failing = await world.claim("two")
        assert failing.room == "quarantined"
        await world.rooms.release("two", "quarantined", failing.fence, Again(failed=True))
        await world.pass_ms(1000, sweep=True)
        await world.rooms.renew("one", [held(grant)])
    await world.finish("over", sid="RM_over")

    listed = {
        ("owned", "RM_owned"): False,
        ("owned", "RM_other"): True,
        ("empty", "RM_empty"): True,
        ("quarantined", "RM_quarantined"): False,
        ("waiting", "RM_waiting"): False,
        ("over", "RM_over"): False,
        ("unknown", "RM_unknown"): True,
    }
    assert await world.rooms.unowned(list(listed)) == list(listed.values())
    assert await world.rooms.unowned([]) == []


async def test_a_long_list_is_asked_about_in_parts(world: World) -> None:
    """More rooms than fit one script are answered in order all the same."""
    await world.arrive("room-450", sid="RM_450")
    listed = [(f"room-{number}", f"RM_{number}") for number in range(500)]

    answers = await world.rooms.unowned(listed)

    assert [number for number, look in enumerate(answers) if not look] == [450]


async def test_a_rested_room_is_looked_at_now_and_then(world: World) -> None:
    """The webhook of a newer caller may be lost, so a rested room is worth a look every ten seconds."""
    await world.arrive(joined=5)
    grant = await world.claim()
    await world.rooms.release("one", "demo", grant.fence, Rested({"PA_1": 5}))
    demo = [("demo", "RM_1")]

    assert await world.rooms.unowned(demo) == [False]
    await world.pass_ms(world.times.rested_look_ms)
    assert await world.rooms.unowned(demo) == [True]
    assert await world.rooms.unowned(demo) == [False]
    assert await world.rooms.claim_next("two", capacity=8) is NoGrant.NOTHING


async def test_a_quarantined_room_is_looked_at_now_and_then(world: World) -> None:
    """An agent may be in there that nobody holds a lease for."""
    await world.arrive()
    for _ in range(3):
        grant = await world.claim()
        await world.rooms.release("one", "demo", grant.fence, Again(failed=True))
        await world.pass_ms(5000, sweep=True)
    demo = [("demo", "RM_1")]

    await world.pass_ms(world.times.rested_look_ms)
    assert await world.rooms.unowned(demo) == [True]
    assert await world.rooms.unowned(demo) == [False]
    assert (await world.look()).standing is Standing.QUARANTINED


async def test_a_room_that_fell_out_of_every_set_is_found_again(world: World) -> None:
    """The reconciler asks for a look, and the arrival that follows puts the room back."""
    await world.arrive()
    await world.redis.delete(world.key("waiting"))

    assert await world.rooms.unowned([("demo", "RM_1")]) == [True]
    await world.arrive()
    assert (await world.claim()).room == "demo"
