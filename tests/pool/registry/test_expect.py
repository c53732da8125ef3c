"""A room that LiveKit has opened, and nobody is in it yet."""

import pytest

from pool.contract import Opened
from pool.registry import Gone, NoGrant, Noted, Rested, Standing
from tests.pool.registry.world import BEGINNING_UNIX_MS, World, held


async def opened(world: World, sid: str = "RM_1", created: int = BEGINNING_UNIX_MS) -> Noted:
    return await world.rooms.note(Opened("demo", sid, created))


async def test_an_opened_room_is_granted_before_anybody_is_in_it(world: World) -> None:
    """Once; and whoever comes in then finds it owned, so nobody else is woken."""
    assert await opened(world) is Noted.WAITING

    grant = await world.claim()

    assert (grant.sid, dict(grant.callers), grant.attempt) == ("RM_1", {}, 1)
    assert await opened(world) is Noted.OWNED
    assert await world.arrive() is Noted.OWNED


async def test_an_expectation_passes(world: World) -> None:
    """Nobody came, and no carrier had a slot: the room is none of ours until somebody does come."""
    await opened(world)
    world.clock.now += world.times.expected_ms

    assert await world.rooms.claim_next("one", capacity=8) is NoGrant.NOTHING
    assert await world.scores("waiting") == {}
    state = await world.rooms.look("demo")
    assert state is not None and state.standing is Standing.ABSENT
    assert await world.arrive() is Noted.WAITING


async def test_an_agent_that_met_nobody_is_no_failure_of_the_room(world: World) -> None:
    """However often it happens, the caller who comes at last is served at once."""
    for number in range(5):
        await opened(world, f"RM_{number}", BEGINNING_UNIX_MS + number)
        grant = await world.claim()
        assert await world.rooms.release("one", "demo", grant.fence, Gone({}))

    assert await world.arrive(sid="RM_4", created=BEGINNING_UNIX_MS + 4) is Noted.WAITING
    assert (await world.claim()).attempt == 1


async def test_a_caller_keeps_the_place_of_the_opened_room(world: World) -> None:
    """Its age counts from the opening."""
    await opened(world)
    began = world.clock.now
    world.clock.now += 60

    assert await world.arrive() is Noted.WAITING
    assert (await world.claim()).wanted_unix_ms == began


async def test_a_caller_who_is_there_comes_before_those_who_may_come(world: World) -> None:
    """An agent that meets nobody holds a slot for as long as it waits; once somebody is there, age decides again."""
    await opened(world)
    world.clock.now += 60
    await world.arrive("other", sid="RM_2")
    assert (await world.claim()).room == "other"

    await world.arrive("third", sid="RM_3")
    await world.arrive()
    assert (await world.claim()).room == "demo"


async def test_a_room_that_nobody_came_to_is_looked_at_when_its_time_is_up(world: World) -> None:
    """Whether or not any carrier has a slot: nobody is shown to wait who never came."""
    await opened(world)
    await world.pass_ms(world.times.expected_ms, sweep=True)

    assert (await world.scores("waiting"), await world.scores("due")) == ({}, {})


async def test_a_caller_who_came_and_went_is_expected_no_more(world: World) -> None:
    """The expectation was theirs."""
    await opened(world)
    await world.arrive()
    await world.leave()

    assert await world.rooms.claim_next("one", capacity=8) is NoGrant.NOTHING


@pytest.mark.parametrize("seen_by", ["webhook", "owner"])
async def test_a_prepared_claim_counts_once_its_caller_is_there(world: World, seen_by: str) -> None:
    """Whoever tells of the caller first: a room that kills whoever joins it is known after as many deaths as any."""
    await opened(world)
    grant = await world.claim()
    state = await world.rooms.look("demo")
    assert state is not None and state.attempts == ()
    claimed_at = world.clock.now

    if seen_by == "webhook":
        await world.arrive()
        await world.arrive(who="PA_2")
    else:
        await world.rooms.renew("one", [held(grant, callers={"PA_1": world.clock.now})])

    state = await world.rooms.look("demo")
    assert state is not None and state.attempts == (claimed_at,)


@pytest.mark.parametrize("how", ["finished", "older"])
async def test_an_old_opening_changes_nothing(world: World, how: str) -> None:
    """A webhook that came late tells of a life that is over."""
    if how == "finished":
        await world.finish()
        assert await opened(world) is Noted.FINISHED
    else:
        await world.arrive(sid="RM_2", created=BEGINNING_UNIX_MS + 9)
        assert await opened(world) is Noted.STALE


async def test_a_rested_room_is_not_opened_again(world: World) -> None:
    """The agent has hung up on this life of it; the opening, told twice, wakes nobody."""
    await opened(world)
    await world.arrive()
    grant = await world.claim()
    assert await world.rooms.release("one", "demo", grant.fence, Rested({"PA_1": world.clock.now}))

    assert await opened(world) is Noted.RESTED
