"""Who is asked to stand by for a room, and how long a slot is kept for it."""

import pytest

from pool.registry import Again, Gone, Grant, NoGrant, Offer, Offered
from tests.pool.registry.world import World, held

NOBODY = Offered(next=None, ready=False)


@pytest.fixture
async def grant(world: World) -> Grant:
    """A room that `one` owns."""
    await world.beat("one")
    await world.arrive()
    return await world.claim()


async def offer(world: World, grant: Grant, owner: str = "one") -> str | None:
    return (await world.rooms.offer(owner, grant.room, grant.fence)).next


async def test_an_offer_is_what_its_owner_knows(world: World, grant: Grant) -> None:
    """The one asked finds room, callers and memory; the owner hears when it is ready. Asking again is free."""
    await world.beat("two")
    await world.rooms.remember("one", "demo", grant.fence, ["hello", "you"])

    assert await world.rooms.offer("one", "demo", grant.fence) == Offered("two", ready=False)
    one = Offer("demo", "RM_1", grant.created_unix_ms, grant.fence, "one", grant.callers, ("hello", "you"))
    assert (await world.rooms.due(carrier="two")).offers == (one,)
    assert (await world.rooms.due(carrier="one")).offers == ()
    assert (await world.rooms.due()).offers == ()

    assert await world.rooms.stand_ready("two", "demo", grant.fence)
    assert await world.rooms.stand_ready("two", "demo", grant.fence)
    before = await world.snapshot()
    assert await world.rooms.offer("one", "demo", grant.fence) == Offered("two", ready=True)
    assert await world.snapshot() == before
    assert (await world.rooms.due(carrier="two")).offers == (one,)
    state = await world.look()
    assert (state.next, state.is_next_ready) == ("two", True)
    assert (await world.told())[-2:] == ["offered", "standing_by"]


async def test_nobody_is_asked_where_nobody_could(world: World, grant: Grant) -> None:
    """Not oneself, not who drains, is cordoned, full, silent, or barred from the room."""
    await world.beat("drains", draining=True)
    await world.beat("cordoned")
    await world.carriers.cordon("cordoned")
    await world.beat("full", capacity=0)
    await world.beat("barred")
    assert await offer(world, grant) == "barred"
    assert await world.rooms.decline("barred", "demo", grant.fence, bar_ms=60_000)

    assert await offer(world, grant) is None
    await world.beat("silent")
    await world.keep(grant, 6001)
    assert await offer(world, grant) is None


async def test_who_was_barred_by_a_release_is_not_asked(world: World, grant: Grant) -> None:
    """A carrier that could not stay in the room shall not get it back by being asked to stand by."""
    await world.rooms.release("one", "demo", grant.fence, Again(failed=False, bar_ms=30_000))
    again = await world.claim("two")

    assert await offer(world, again, "two") is None
    await world.keep(again, 30_001, "two")
    await world.beat("one")
    assert await offer(world, again, "two") == "one"


async def test_siblings_are_asked_unless_the_worker_drains(world: World, grant: Grant) -> None:
    """A single carrier may hand its rooms to its neighbours; of a worker that drains all are about to leave."""
    await world.beat("one", worker="w")
    await world.beat("sibling", worker="w")
    assert await offer(world, grant) == "sibling"

    await world.beat("one", worker="w", draining=True)  # its sibling's beat will say the same in a moment
    assert await offer(world, grant) is None
    await world.beat("one", worker="w")
    await world.carriers.drain("w")
    assert await offer(world, grant) is None


async def test_the_newest_revision_is_asked_first(world: World, grant: Grant) -> None:
    """By when the latest worker of it started, whoever has more room; so a rollout hands a call over once."""
    await world.beat("old", revision="r1", worker_started=200, capacity=100)
    await world.beat("new", revision="r2", worker_started=100, capacity=1)
    await world.beat("newest of r2", revision="r2", worker_started=300, capacity=0)

    assert await offer(world, grant) == "new"


async def test_without_a_revision_the_latest_worker_is_the_newest(world: World, grant: Grant) -> None:
    """Carriers of workers without a revision are told apart by their worker."""
    await world.beat("early", revision="", worker_started=100, capacity=100)
    await world.beat("late", revision="", worker_started=200, capacity=1)

    assert await offer(world, grant) == "late"


async def test_of_one_revision_the_emptiest_is_asked(world: World, grant: Grant) -> None:
    """Most free slots, reservations taken off."""
    await world.beat("small", capacity=3)
    await world.beat("busy", capacity=4)
    await world.arrive("other", sid="RM_2")
    other = await world.claim("busy")

    assert await offer(world, other, "busy") == "one"  # 8 - 1 held
    assert await offer(world, grant) in {"small", "busy"}
    await world.rooms.withdraw("one", "demo", grant.fence)
    await world.beat("large", capacity=5)
    assert await offer(world, grant) == "large"


async def test_a_reservation_counts_as_a_call(world: World, grant: Grant) -> None:
    """Whoever stands by with its last slot is given no other room until it declines."""
    await world.beat("two", capacity=1)
    assert await offer(world, grant) == "two"
    await world.arrive("other", sid="RM_2")

    assert await world.rooms.claim_next("two", capacity=1) is NoGrant.FULL
    [seen] = [seen for seen in await world.carriers.list() if seen.carrier.id == "two"]
    assert (seen.leases, seen.reservations) == (0, 1)
    assert await world.rooms.decline("two", "demo", grant.fence)
    assert (await world.claim("two", capacity=1)).room == "other"
    assert await offer(world, grant) is None  # full now


async def test_who_says_that_it_is_full_is_believed(world: World, grant: Grant) -> None:
    """After a loss of data Redis knows of fewer calls than it has."""
    await world.beat("two", capacity=2, in_use=2)
    assert await offer(world, grant) is None

    await world.beat("two", capacity=2, in_use=1)
    assert await offer(world, grant) == "two"


async def test_two_reservations_at_a_time(world: World) -> None:
    """Each costs a second voice session: a third room is not offered to the same carrier."""
    await world.beat("two")
    grants = []
    for number in range(3):
        await world.arrive(f"room-{number}", sid=f"RM_{number}")
        grants.append(await world.claim())

    assert [await offer(world, one) for one in grants] == ["two", "two", None]


@pytest.mark.parametrize("how", ["decline", "withdraw", "release", "lost", "finished", "new life", "gone", "expired"])
async def test_a_reservation_ends(world: World, grant: Grant, how: str) -> None:
    """With whatever ends the offer, and then the next is told so and its slot is free."""
    await world.beat("two", capacity=1)
    assert await offer(world, grant) == "two"
    match how:
        case "decline":
            assert await world.rooms.decline("two", "demo", grant.fence)
        case "withdraw":
            assert await world.rooms.withdraw("one", "demo", grant.fence)
        case "release":
            assert await world.rooms.release("one", "demo", grant.fence, Gone(grant.callers))
        case "lost":
            await world.pass_ms(world.times.ttl_ms, sweep=True)
        case "finished":
            await world.finish()
        case "new life":
            await world.arrive(sid="RM_2", created=world.clock.now)
        case "gone":
            await world.carriers.gone("two")
        case _:
            await world.keep(grant, world.times.offer_ms)

    assert not await world.rooms.stand_ready("two", "demo", grant.fence)
    assert not await world.rooms.decline("two", "demo", grant.fence)
    assert not await world.rooms.withdraw("one", "demo", grant.fence)
    assert await world.rooms.pass_on("one", "demo", grant.fence) is None
    assert await world.rooms.await_pass("two", "demo", grant.fence, limit_s=5) is None
    assert (await world.rooms.due(carrier="two")).offers == ()
    await world.arrive("other", sid="RM_9", created=1)
    assert isinstance(await world.rooms.claim_next("two", capacity=1), Grant)


async def test_who_says_nothing_is_not_asked_again_at_once(world: World, grant: Grant) -> None:
    """An offer that expired without a word goes to somebody else, and later to the same again."""
    await world.beat("two")
    assert await offer(world, grant) == "two"
    await world.keep(grant, world.times.offer_ms)
    await world.beat("two")
    assert await offer(world, grant) is None

    await world.keep(grant, world.times.offer_ms)
    await world.beat("two")
    assert await offer(world, grant) == "two"


async def test_a_next_that_drains_or_dies_is_replaced(world: World, grant: Grant) -> None:
    """The owner's next question finds somebody else."""
    for name in ("four", "three", "two"):
        await world.beat(name)
    asked = await offer(world, grant)
    assert asked == "four"
    await world.beat("four", draining=True)
    asked = await offer(world, grant)
    assert asked == "three"
    await world.carriers.reap("three")

    assert await offer(world, grant) == "two"


async def test_only_the_owner_offers(world: World, grant: Grant) -> None:
    """A stale fence, a stranger, an unknown room and a room that is over get nobody, and change nothing."""
    await world.beat("two")
    before = await world.snapshot()
    assert await world.rooms.offer("one", "demo", grant.fence - 1) == NOBODY
    assert await world.rooms.offer("two", "demo", grant.fence) == NOBODY
    assert await world.rooms.offer("one", "elsewhere", grant.fence) == NOBODY
    assert await world.snapshot() == before

    await world.finish()
    assert await world.rooms.offer("one", "demo", grant.fence) == NOBODY


async def test_only_who_was_asked_answers(world: World, grant: Grant) -> None:
    """Somebody else, or an answer under another fence, changes nothing."""
    await world.beat("two")
    await offer(world, grant)
    before = await world.snapshot()

    for carrier, fence in (("three", grant.fence), ("two", grant.fence + 1), ("two", grant.fence - 1)):
        assert not await world.rooms.stand_ready(carrier, "demo", fence)
        assert not await world.rooms.decline(carrier, "demo", fence, bar_ms=9)
    for owner, fence in (("two", grant.fence), ("one", grant.fence - 1)):
        assert not await world.rooms.withdraw(owner, "demo", fence)
        assert await world.rooms.pass_on(owner, "demo", fence) is None
    assert await world.snapshot() == before


async def test_a_reservation_that_nothing_bears_out_is_dropped(world: World) -> None:
    """`standby:` is derived: what a hand put there, or a lost room left there, takes no slot."""
    await world.beat("two")
    await world.redis.sadd(world.key("standby:two"), "demo", "elsewhere")  # type: ignore[misc]
    await world.arrive()

    assert (await world.claim("two", capacity=1)).room == "demo"
    assert await world.members("standby:two") == set()


async def test_a_reservation_fallen_out_of_the_index_still_holds(world: World, grant: Grant) -> None:
    """The room is the truth: with the set lost, the next may still stand ready, and the room be passed to it."""
    await world.beat("two")
    await offer(world, grant)
    await world.redis.set(world.key("standby:two"), "stranger", px=60_000)

    assert (await world.rooms.due(carrier="two")).offers == ()
    assert await world.rooms.stand_ready("two", "demo", grant.fence)
    assert await world.rooms.pass_on("one", "demo", grant.fence)


async def test_a_clock_set_back_keeps_no_reservation_for_ever(world: World, grant: Grant) -> None:
    """An offer lasts no longer than it can from now, and carriers that beat in the future are not believed to live."""
    await world.beat("two")
    await offer(world, grant)
    await world.rooms.decline("two", "demo", grant.fence, bar_ms=2_000_000)
    await world.beat("three")
    await offer(world, grant)
    world.clock.now -= 3_600_000
    await world.keep(grant, world.times.offer_ms + 1000)

    assert (await world.look()).next is None
    assert await offer(world, grant) is None
    await world.keep(grant, world.times.attempts_window_ms + 1000)
    await world.beat("two")
    assert await offer(world, grant) == "two"


async def test_renewals_do_not_disturb_an_offer(world: World, grant: Grant) -> None:
    """The owner goes on renewing while somebody gets ready."""
    await world.beat("two")
    await offer(world, grant)

    await world.rooms.renew("one", [held(grant)])

    assert (await world.look()).next == "two"
