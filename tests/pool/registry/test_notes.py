"""What a webhook says about a room: arrivals, departures and ends, in every order they may come."""

import pytest

from pool.contract import Arrived, Finished, Left, Note
from pool.registry import Gone, NoGrant, Noted, Rested, Standing
from tests.pool.registry.world import BEGINNING_UNIX_MS, World, held

CREATED = BEGINNING_UNIX_MS
ARRIVED = Arrived("demo", "RM_1", CREATED, "PA_1", CREATED + 1)
LEFT = Left("demo", "RM_1", "PA_1")
FINISHED = Finished("demo", "RM_1")
OLDER = Arrived("demo", "RM_0", CREATED - 1, "PA_0", CREATED)
AS_OLD = Arrived("demo", "RM_2", CREATED, "PA_2", CREATED + 2)
NEWER = Arrived("demo", "RM_2", CREATED + 1, "PA_2", CREATED + 2)


@pytest.mark.parametrize(
    ("notes", "answers", "standing"),
    [
        pytest.param([ARRIVED], [Noted.WAITING], Standing.WAITING, id="arrival"),
        pytest.param([ARRIVED, ARRIVED], [Noted.WAITING, Noted.WAITING], Standing.WAITING, id="arrival twice"),
        pytest.param([ARRIVED, LEFT], [Noted.WAITING, Noted.LEFT], Standing.ABSENT, id="left again"),
        pytest.param([LEFT, ARRIVED], [Noted.ABSENT, Noted.GONE], Standing.ABSENT, id="left before it arrived"),
        pytest.param(
            [ARRIVED, LEFT, ARRIVED], [Noted.WAITING, Noted.LEFT, Noted.GONE], Standing.ABSENT, id="late repeat"
        ),
        pytest.param([FINISHED], [Noted.ABSENT], None, id="end of an unknown room"),
        pytest.param([FINISHED, ARRIVED], [Noted.ABSENT, Noted.FINISHED], None, id="end before the arrival"),
        pytest.param([FINISHED, LEFT], [Noted.ABSENT, Noted.FINISHED], None, id="end before a departure"),
        pytest.param(
            [ARRIVED, FINISHED, ARRIVED],
            [Noted.WAITING, Noted.CLOSED, Noted.FINISHED],
            Standing.FINISHED,
            id="no second life",
        ),
        pytest.param([ARRIVED, OLDER], [Noted.WAITING, Noted.STALE], Standing.WAITING, id="earlier life comes late"),
        pytest.param([NEWER, FINISHED], [Noted.WAITING, Noted.STALE], Standing.WAITING, id="earlier life ends late"),
        pytest.param([NEWER, LEFT], [Noted.WAITING, Noted.STALE], Standing.WAITING, id="earlier life is left late"),
        pytest.param([ARRIVED, NEWER], [Noted.WAITING, Noted.WAITING], Standing.WAITING, id="new life"),
        pytest.param(
            [ARRIVED, FINISHED, NEWER], [Noted.WAITING, Noted.CLOSED, Noted.WAITING], Standing.WAITING, id="in order"
        ),
        pytest.param([ARRIVED, AS_OLD], [Noted.WAITING, Noted.WAITING], Standing.WAITING, id="as old: the later call"),
    ],
)
async def test_notes_in_any_order(
    world: World, notes: list[Note], answers: list[Noted], standing: Standing | None
) -> None:
    """Each order of notes ends as the times in them say, not as they came."""
    assert answers == [await world.rooms.note(note) for note in notes]

    state = await world.rooms.look("demo")

    assert standing == (state and state.standing)


async def test_an_arrival_twice_keeps_the_first_wait(world: World) -> None:
    """A room is as old in the queue as its first arrival, however often that is repeated."""
    await world.arrive()
    first = (await world.look()).wanted_unix_ms
    await world.pass_ms(500)

    await world.arrive()

    assert first == (await world.look()).wanted_unix_ms


async def test_a_new_life_forgets_all_but_the_fence(world: World) -> None:
    """A new life of a name starts without callers, owner, attempts or rest; fences go on rising."""
    await world.arrive()
    old = await world.claim()

    await world.arrive(sid="RM_2", created=CREATED + 1, who="PA_2")
    state = await world.look()
    assert await world.members("held:one") == set()
    new = await world.claim("two")

    assert ("RM_2", {"PA_2": world.clock.now}, None, ()) == (state.sid, state.callers, state.owner, state.attempts)
    assert old.fence == state.fence
    assert new.fence > old.fence


async def test_an_arrival_in_an_owned_room_is_left_to_the_owner(world: World) -> None:
    """Nobody waits in a room that has an agent."""
    await world.arrive()
    await world.claim()

    assert Noted.OWNED is await world.arrive(who="PA_2")
    assert NoGrant.NOTHING is await world.rooms.claim_next("two", capacity=8)
    assert {"PA_1", "PA_2"} == set((await world.look()).callers)


async def test_a_departure_does_not_end_a_call(world: World) -> None:
    """The carrier in the room sees for itself who is there: its lease stays."""
    await world.arrive()
    grant = await world.claim()

    await world.leave()

    assert Standing.OWNED is (await world.look()).standing
    assert await world.rooms.release("one", "demo", grant.fence, Gone({}))
    assert Standing.ABSENT is (await world.look()).standing


async def test_a_rested_room_is_woken_by_a_newer_caller_alone(world: World) -> None:
    """Neither who was served, nor who joined before the agent ended the call, brings the agent back."""
    await world.arrive(joined=CREATED + 10)
    grant = await world.claim()
    await world.rooms.release("one", "demo", grant.fence, Rested({"PA_1": CREATED + 10}))

    assert Noted.RESTED is await world.arrive(joined=CREATED + 10)
    assert Noted.RESTED is await world.arrive(who="PA_1", joined=CREATED + 99)
    assert Noted.RESTED is await world.arrive(who="PA_2", joined=CREATED + 10)
    assert NoGrant.NOTHING is await world.rooms.claim_next("two", capacity=8)
    assert Noted.WAITING is await world.arrive(who="PA_3", joined=CREATED + 11)
    assert (await world.claim("two")).room == "demo"


async def test_a_woken_room_rests_again_when_the_newer_caller_leaves(world: World) -> None:
    """Who was served once stays served, also after somebody else was."""
    await world.arrive(joined=CREATED + 10)
    grant = await world.claim()
    await world.rooms.release("one", "demo", grant.fence, Rested({"PA_1": CREATED + 10}))
    await world.arrive(who="PA_2", joined=CREATED + 20)

    await world.leave(who="PA_2")

    assert Standing.RESTED is (await world.look()).standing


async def test_the_end_of_an_owned_room_reaches_its_owner(world: World) -> None:
    """The owner keeps its lease until it releases, and the room never waits again."""
    await world.arrive()
    grant = await world.claim()

    await world.finish()

    assert Standing.OWNED is (await world.look()).standing
    assert [getattr(answer, "name", "") for answer in await world.rooms.renew("one", [held(grant)])] == ["OVER"]
    assert await world.rooms.release("one", "demo", grant.fence, Gone(grant.callers))
    assert Standing.FINISHED is (await world.look()).standing


async def test_callers_and_the_departed_are_bounded(world: World) -> None:
    """At most 64 callers and 32 departed are remembered, the oldest dropped."""
    for number in range(70):
        await world.arrive(who=f"PA_{number}", joined=CREATED + number)
    state = await world.look()
    assert {f"PA_{number}" for number in range(6, 70)} == set(state.callers)

    for number in range(6, 70):
        await world.leave(who=f"PA_{number}")
    state = await world.look()
    assert [f"PA_{number}" for number in range(38, 70)] == list(state.gone)
    assert Standing.ABSENT is state.standing


@pytest.mark.parametrize("time", [-1, 0, 10**15, 2**80], ids=["negative", "absent", "too large", "absurd"])
async def test_times_that_cannot_be_are_drawn_to_those_that_can(world: World, time: int) -> None:
    """A nonsensical time in a webhook neither raises nor spoils the room."""
    assert Noted.WAITING is await world.arrive(created=time, joined=time)
    assert (await world.claim()).room == "demo"


async def test_what_nobody_needs_expires(world: World) -> None:
    """Tombstones, empty, finished and rested rooms and their stories go by themselves; waiting and owned ones stay."""
    await world.arrive("waiting")
    await world.arrive("left")
    await world.leave("left")
    await world.arrive("over", sid="RM_9")
    await world.finish("over", sid="RM_9")

    async def left_ms(key: str) -> int:
        return int(await world.redis.pttl(world.key(key)))

    assert await left_ms("room:waiting") == -1
    for key in ("room:left", "room:over", "finished:RM_9"):
        assert 0 < await left_ms(key) <= world.times.finished_ms, key
    assert 0 < await left_ms("why:waiting") <= world.times.why_ms
    await world.arrive("left", who="PA_2")
    assert await left_ms("room:left") == -1


async def test_an_agent_that_came_for_a_newcomer_is_there_for_who_was_served_before(world: World) -> None:
    """It serves both; should it die when the newcomer has left, the other one waits like anybody."""
    await world.arrive()
    grant = await world.claim()
    await world.rooms.release("one", "demo", grant.fence, Rested({"PA_1": world.clock.now}))
    world.clock.now += 1
    await world.arrive(who="PA_2")
    await world.claim("two")
    await world.leave(who="PA_2")

    await world.pass_ms(world.times.ttl_ms + 5000, sweep=True)

    assert (await world.look()).standing is Standing.WAITING
