"""Keeping, losing and giving up a room."""

import pytest

from pool.registry import (
    Again,
    Gone,
    Grant,
    Held,
    NoGrant,
    Release,
    Renewal,
    Rested,
    Rooms,
    Standing,
)
from tests.pool.registry.world import BEGINNING_UNIX_MS, World, held

TTL_MS = 3000


async def renew(world: World, grant: Grant, carrier: str = "one", **seen: int) -> Renewal | Exception:
    [answer] = await world.rooms.renew(carrier, [held(grant, seen)])
    return answer


async def test_renewals_keep_a_room(world: World) -> None:
    """Each renewal extends the lease by one ttl from now."""
    await world.arrive()
    grant = await world.claim()

    for _ in range(5):
        await world.pass_ms(TTL_MS - 1, sweep=True)
        assert await renew(world, grant) is Renewal.MINE

    assert (await world.look()).until_unix_ms == world.clock.now + TTL_MS


async def test_many_rooms_are_renewed_at_once(world: World) -> None:
    """One answer for each room, in the order asked; one that is lost does not touch the others."""
    grants = []
    for number in range(5):
        await world.arrive(f"room-{number}", sid=f"RM_{number}")
        grants.append(await world.claim())
    await world.rooms.release("one", "room-2", grants[2].fence, Again(failed=False))
    await world.finish("room-3", sid="RM_3")

    answers = await world.rooms.renew("one", [held(grant) for grant in grants])

    assert answers == [Renewal.MINE, Renewal.MINE, Renewal.LOST, Renewal.OVER, Renewal.MINE]
    assert await world.rooms.renew("one", []) == []


async def test_scripts_come_back_after_redis_forgot_them(world: World) -> None:
    """A pipeline of renewals survives that Redis restarted and knows no script."""
    await world.arrive()
    grant = await world.claim()
    await world.redis.script_flush()

    assert await renew(world, grant) is Renewal.MINE


async def test_an_error_reply_stands_for_one_room_alone(world: World) -> None:
    """What Redis answers with an error is the answer for that room, not an exception for all."""
    await world.arrive()
    grant = await world.claim()
    impossible = Held("other", "RM_9", 1, 1, {})
    beyond = Rooms(world.redis, prefix=world.prefix, times=world.times, now_ms=lambda: "soon")  # type: ignore[arg-type, return-value]

    [broken] = await beyond.renew("one", [impossible])
    assert isinstance(broken, Exception)
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]


async def test_a_lease_that_ended_unnoticed_can_be_renewed(world: World) -> None:
    """As long as nobody looked, nobody was granted the room: its owner keeps it."""
    await world.arrive()
    grant = await world.claim()
    await world.pass_ms(TTL_MS + 1)

    assert (await world.look()).standing is Standing.LAPSED
    assert await renew(world, grant) is Renewal.MINE
    assert (await world.look()).standing is Standing.OWNED


async def test_a_lease_that_ended_is_for_the_next(world: World) -> None:
    """Once its end was noticed the room is claimable at once, as old as it was, and the old owner has lost it."""
    wanted = world.clock.now
    await world.arrive()
    old = await world.claim()
    await world.pass_ms(TTL_MS)

    assert (await world.rooms.due()).claimable == 1
    assert await renew(world, old) is Renewal.LOST
    new = await world.claim("two")
    assert (new.wanted_unix_ms, new.queued_unix_ms, new.attempt) == (wanted, world.clock.now, 2)
    assert new.fence > old.fence
    assert await renew(world, old) is Renewal.LOST
    assert not await world.rooms.release("one", "demo", old.fence, Gone(old.callers))


async def test_nothing_is_due_before_its_time(world: World) -> None:
    """A live lease is left alone, and the last moment of it is its end."""
    await world.arrive()
    await world.claim()

    await world.pass_ms(TTL_MS - 1)
    assert (await world.rooms.due()).claimable == 0
    await world.pass_ms(1)
    assert (await world.rooms.due()).claimable == 1


async def test_a_dead_owner_of_an_empty_room_is_forgotten(world: World) -> None:
    """With nobody left in the room, the end of a lease makes nothing claimable."""
    await world.arrive()
    await world.claim()
    await world.leave()
    await world.pass_ms(TTL_MS)

    assert (await world.rooms.due()).claimable == 0
    assert (await world.look()).standing is Standing.ABSENT
    assert await world.redis.zcard(world.key("due")) == 0


async def test_no_more_rooms_than_asked_for_are_looked_at(world: World) -> None:
    """`due` is bounded; the rest is found by the next call."""
    for number in range(5):
        await world.arrive(f"room-{number}", sid=f"RM_{number}")
        await world.claim()
    await world.pass_ms(TTL_MS)

    assert [(await world.rooms.due(2)).claimable for _ in range(4)] == [2, 2, 1, 0]


async def test_callers_are_those_of_the_owner_and_of_webhooks(world: World) -> None:
    """The owner tells whom it sees, a webhook whom it does not see yet; who is known to have left is neither's."""
    await world.arrive(who="PA_noted", joined=1)
    await world.arrive(who="PA_left", joined=1)
    grant = await world.claim()
    await world.leave(who="PA_left")

    await renew(world, grant, PA_left=1, PA_seen=2)

    assert (await world.look()).callers == {"PA_noted": 1, "PA_seen": 2}


async def test_a_stale_fence_changes_nothing(world: World) -> None:
    """Neither renewal nor release under another fence, or by another carrier, leaves a trace."""
    await world.arrive()
    grant = await world.claim()
    before = await world.snapshot()

    for carrier, fence in (("one", grant.fence - 1), ("two", grant.fence), ("two", grant.fence - 1)):
        stale = Held("demo", "RM_1", BEGINNING_UNIX_MS, fence, {"PA_9": 1})
        assert await world.rooms.renew(carrier, [stale]) == [Renewal.LOST]
        for how in (Again(failed=True, bar_ms=9), Again(failed=False), Rested({"PA_1": 1}), Gone({"PA_1": 1})):
            assert not await world.rooms.release(carrier, "demo", fence, how)

    assert await world.snapshot() == before


async def test_nothing_is_released_that_redis_does_not_know(world: World) -> None:
    """An unknown room is not released, and not made."""
    assert not await world.rooms.release("one", "demo", 1, Again(failed=False))
    assert await world.rooms.look("demo") is None


@pytest.mark.parametrize(
    ("how", "standing"),
    [
        pytest.param(Again(failed=False), Standing.WAITING, id="again"),
        pytest.param(Again(failed=True), Standing.WAITING, id="failed once"),
        pytest.param(Rested({"PA_1": BEGINNING_UNIX_MS}), Standing.RESTED, id="rested"),
        pytest.param(Gone({"PA_1": BEGINNING_UNIX_MS}), Standing.ABSENT, id="gone"),
        pytest.param(Gone({}), Standing.WAITING, id="gone, but somebody unseen is noted"),
    ],
)
async def test_where_a_released_room_goes(world: World, how: Release, standing: Standing) -> None:
    """Each way to give a room up has its place for it, and frees the carrier."""
    await world.arrive(joined=BEGINNING_UNIX_MS)
    grant = await world.claim(capacity=1)

    assert await world.rooms.release("one", "demo", grant.fence, how)
    assert (await world.look()).standing is standing
    assert await world.rooms.claim_next("one", capacity=1) is not NoGrant.FULL


async def test_who_came_during_the_call_is_next(world: World) -> None:
    """A caller noted after those served wakes the room as soon as it rests or is left, and waits from then."""
    for how, sid in ((Rested({"PA_1": 10}), "RM_1"), (Gone({"PA_1": 10}), "RM_2")):
        await world.arrive(sid, sid=sid, joined=10)
        grant = await world.claim()
        await world.arrive(sid, sid=sid, who="PA_2", joined=20)
        await world.pass_ms(1000)

        await world.rooms.release("one", sid, grant.fence, how)

        assert (await world.claim("two")).wanted_unix_ms == world.clock.now


async def test_a_room_given_back_is_served_first(world: World) -> None:
    """`Again` keeps the age of the wait, so that the caller does not queue up anew."""
    await world.arrive("old", sid="RM_old")
    grant = await world.claim()
    await world.pass_ms(100)
    await world.arrive("young", sid="RM_young")
    await world.pass_ms(100)

    await world.rooms.release("one", "old", grant.fence, Again(failed=False))

    assert (await world.claim("two")).room == "old"


async def fail(world: World, carrier: str) -> None:
    grant = await world.claim(carrier)
    assert await world.rooms.release(carrier, "demo", grant.fence, Again(failed=True))


async def die(world: World, carrier: str) -> None:
    await world.claim(carrier)
    await world.pass_ms(TTL_MS)
    await world.rooms.due()


@pytest.mark.parametrize("trouble", [fail, die], ids=["failed calls", "dead carriers"])
async def test_trouble_makes_a_room_wait_and_then_quarantines_it(world: World, trouble: object) -> None:
    """The first failure waits not at all, the second one second, the third is for a person to look at."""
    assert callable(trouble)
    await world.arrive()

    await trouble(world, "one")
    assert (await world.look()).standing is Standing.WAITING

    await trouble(world, "two")
    assert (await world.look()).standing is Standing.BACKING_OFF
    assert await world.arrive(who="PA_2") is not None
    assert await world.rooms.claim_next("three", capacity=8) is NoGrant.NOTHING
    await world.pass_ms(1000, sweep=True)

    await trouble(world, "three")
    assert (await world.look()).standing is Standing.QUARANTINED
    await world.pass_ms(60_000, sweep=True)
    assert await world.rooms.claim_next("four", capacity=8) is NoGrant.NOTHING
    assert [room.standing for room in await world.rooms.rooms()] == [Standing.QUARANTINED]


async def excuse(world: World, carrier: str) -> None:
    grant = await world.claim(carrier)
    assert await world.rooms.release(carrier, "demo", grant.fence, Again(failed=True, counts=False))


async def test_failures_that_do_not_count_wait_ever_longer_and_never_quarantine(world: World) -> None:
    """An outage of the voice vendor: the room waits 0, 1, 5, 15, 15 s between tries, and is served when it is over."""
    await world.arrive()
    waits = []
    for number in range(7):
        await excuse(world, f"carrier-{number}")
        state = await world.look()
        waits.append((state.due_unix_ms or world.clock.now) - world.clock.now)
        await world.pass_ms(waits[-1], sweep=True)

    assert waits == [0, 1000, 5000, 15_000, 15_000, 15_000, 15_000]
    assert (await world.claim()).attempt == 8


async def test_failures_that_do_not_count_leave_those_that_do(world: World) -> None:
    """Dead carriers and failed calls add up to quarantine whatever came between."""
    await world.arrive()
    for trouble in (die, excuse, fail, excuse):
        await trouble(world, "one")
        await world.pass_ms(15_000, sweep=True)
    state = await world.look()
    assert (len(state.attempts), len(state.excused)) == (2, 2)

    await die(world, "two")

    assert (await world.look()).standing is Standing.QUARANTINED


async def test_a_call_that_was_well_for_long_is_tried_again_at_once(world: World) -> None:
    """The vendor fails in the middle of a call: earlier tries are forgotten, and the first wait is none."""
    await world.arrive()
    for _ in range(3):
        await excuse(world, "one")
        await world.pass_ms(15_000, sweep=True)
    grant = await world.claim("two")
    for _ in range(70):
        await world.pass_ms(1000)
        await world.rooms.renew("two", [held(grant)])

    await world.rooms.release("two", "demo", grant.fence, Again(failed=True, counts=False))

    assert (await world.look()).standing is Standing.WAITING


async def quarantined(world: World) -> None:
    await world.arrive()
    for carrier in ("one", "two", "three"):
        await world.pass_ms(1000, sweep=True)
        await fail(world, carrier)
    assert (await world.look()).standing is Standing.QUARANTINED


async def test_a_person_lifts_a_quarantine(world: World) -> None:
    """`retry` makes the room claimable at once, with a clean slate; without a quarantine it does nothing."""
    assert not await world.rooms.retry("demo")
    await quarantined(world)

    assert await world.rooms.retry("demo")
    assert (await world.claim()).attempt == 1
    assert not await world.rooms.retry("demo")


async def test_a_new_life_lifts_a_quarantine(world: World) -> None:
    """Trouble belongs to one life of a room's name."""
    await quarantined(world)

    await world.arrive(sid="RM_2", created=BEGINNING_UNIX_MS + 1, who="PA_2")

    assert (await world.claim()).attempt == 1


async def test_a_quarantined_room_that_is_over_is_not_listed(world: World) -> None:
    """Nobody waits in it, and there is nothing for a person to lift."""
    await quarantined(world)
    assert [summary.standing for summary in await world.rooms.rooms()] == [Standing.QUARANTINED]

    await world.finish()

    assert await world.rooms.rooms() == []


async def test_a_minute_of_health_forgets_attempts(world: World) -> None:
    """A call that was carried for a minute starts with a clean slate when its carrier dies."""
    await world.arrive()
    await fail(world, "one")
    grant = await world.claim("two")
    for _ in range(30):
        await world.pass_ms(2000, sweep=True)
        assert await renew(world, grant, "two") is Renewal.MINE

    assert (await world.look()).attempts == ()


async def test_attempts_outside_the_window_do_not_count(world: World) -> None:
    """Three failures in three hours quarantine nothing."""
    await world.arrive()
    for _ in range(4):
        await fail(world, "one")
        await world.pass_ms(world.times.attempts_window_ms)

    assert (await world.look()).standing is Standing.WAITING


async def test_calls_that_were_served_are_no_failures(world: World) -> None:
    """A caller who hangs up and returns five times in a minute is answered each time."""
    for number in range(5):
        await world.arrive(who=f"PA_{number}")
        grant = await world.claim()
        assert grant.attempt == 1
        await world.rooms.release("one", "demo", grant.fence, Gone(grant.callers))


async def test_a_room_nobody_is_found_in_is_not_claimed_for_ever(world: World) -> None:
    """Calls that served nobody count as attempts."""
    await world.arrive()
    for _ in range(3):
        grant = await world.claim()
        await world.rooms.release("one", "demo", grant.fence, Gone({}))

    assert (await world.look()).standing is Standing.QUARANTINED
