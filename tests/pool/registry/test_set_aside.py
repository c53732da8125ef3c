"""Room state nobody can read stops nobody: it is kept for a person to look at, and the next room is served."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from pool.contract import Arrived, Finished, Left
from pool.registry import Again, Gone, Held, Renewal
from tests.pool.registry.world import BEGINNING_UNIX_MS, World, held

FIELDS = {
    "v": "1",
    "sid": "RM_1",
    "created": str(BEGINNING_UNIX_MS),
    "callers": '{"PA_1":1}',
    "fence": "5",
    "wanted": "1",
}

CORRUPT: Mapping[str, Mapping[str, str] | str] = {
    "newer version": FIELDS | {"v": "2"},
    "no version": {name: value for name, value in FIELDS.items() if name != "v"},
    "no sid": {name: value for name, value in FIELDS.items() if name != "sid"},
    "empty callers text": FIELDS | {"callers": ""},
    "half an object": FIELDS | {"callers": '{"PA_1":'},
    "callers are a list": FIELDS | {"callers": "[1,2]"},
    "a joined time is text": FIELDS | {"callers": '{"PA_1":"soon"}'},
    "a joined time is null": FIELDS | {"callers": '{"PA_1":null}'},
    "a joined time is not a number": FIELDS | {"callers": '{"PA_1":NaN}'},
    "too many callers": FIELDS | {"callers": "{" + ",".join(f'"PA_{n}":1' for n in range(65)) + "}"},
    "nested beyond reason": FIELDS | {"callers": "[" * 5000},
    "a word for a number": FIELDS | {"fence": "many"},
    "a negative number": FIELDS | {"fence": "-1"},
    "not a number": FIELDS | {"fence": "nan"},
    "infinite": FIELDS | {"wanted": "inf"},
    "a number that loses digits": FIELDS | {"fence": "1" * 15},
    "an owner without a lease": FIELDS | {"owner": "one"},
    "gone is an object": FIELDS | {"gone": '{"a":1}'},
    "gone holds numbers": FIELDS | {"gone": "[1]"},
    "attempts hold text": FIELDS | {"attempts": '["now"]'},
    "rested is a number": FIELDS | {"rested": "7"},
    "rested without sids": FIELDS | {"rested": '{"upto":1}'},
    "a bar that is no time": FIELDS | {"bar:one": "later"},
    "thousands of bars": FIELDS | {f"bar:{n}": "1" for n in range(9000)},
    "an offer to nobody": FIELDS | {"offer": '{"fence":5,"until":1}'},
    "an offer without an end": FIELDS | {"offer": '{"next":"two","fence":5}'},
    "an offer that is text": FIELDS | {"offer": "two"},
    "declined is a list": FIELDS | {"declined": '["two"]'},
    "passed without a fence": FIELDS | {"passed": '{"carrier":"one","to":5}'},
    "a hang-up that is no time": FIELDS | {"hangup": "now"},
    "a string": "room",
    "bytes": "\x00\x7f\\xff",
}


async def put(world: World, room: str, corrupt: Mapping[str, str] | str) -> None:
    key = world.key(f"room:{room}")
    await world.redis.delete(key)
    if isinstance(corrupt, str):
        await world.redis.set(key, corrupt)
    else:
        await world.redis.hset(key, mapping=dict(corrupt))  # type: ignore[misc]


@pytest.mark.parametrize("corrupt", CORRUPT.values(), ids=CORRUPT)
async def test_a_claim_reaches_the_next_room(world: World, corrupt: Mapping[str, str] | str) -> None:
    """Whatever is wrong with the room that waited longest, the one behind it is granted."""
    await world.arrive("bad", sid="RM_bad")
    await world.pass_ms(10)
    await world.arrive("good", sid="RM_good")
    await put(world, "bad", corrupt)

    assert (await world.claim()).room == "good"
    assert await world.rooms.counters() == {"set_aside_rooms": 1, "rooms_claimed": 1}
    assert not await world.redis.exists(world.key("room:bad"))
    assert await world.redis.exists(world.key("set_aside:bad"))
    assert 0 < await world.redis.pttl(world.key("set_aside:bad")) <= 86_400_000
    assert "set_aside" in await world.told("bad")
    assert await world.redis.zrange(world.key("waiting"), 0, -1) == []


async def renew(world: World) -> object:
    return await world.rooms.renew("one", [Held("bad", "RM_1", 1, 5, {})])


async def reap(world: World) -> object:
    await world.redis.sadd(world.key("held:one"), "bad")  # type: ignore[misc]
    return await world.carriers.reap("one")


async def gone(world: World) -> object:
    await world.redis.sadd(world.key("standby:one"), "bad")  # type: ignore[misc]
    await world.carriers.gone("one")
    return None


async def list_carriers(world: World) -> object:
    await world.beat("one")
    await world.redis.sadd(world.key("held:one"), "bad")  # type: ignore[misc]
    return await world.carriers.list()


VERBS: Mapping[str, Callable[[World], Awaitable[object]]] = {
    "arrive": lambda world: world.rooms.note(Arrived("bad", "RM_1", 1, "PA_1", 1)),
    "leave": lambda world: world.rooms.note(Left("bad", "RM_1", "PA_1")),
    "finish": lambda world: world.rooms.note(Finished("bad", "RM_1")),
    "claim": lambda world: world.rooms.claim_next("one", capacity=8),
    "renew": renew,
    "release again": lambda world: world.rooms.release("one", "bad", 5, Again(failed=True)),
    "release gone": lambda world: world.rooms.release("one", "bad", 5, Gone({})),
    "due": lambda world: world.rooms.due(),
    "look": lambda world: world.rooms.look("bad"),
    "rooms": lambda world: world.rooms.rooms(),
    "unowned": lambda world: world.rooms.unowned([("bad", "RM_1")]),
    "retry": lambda world: world.rooms.retry("bad"),
    "remember": lambda world: world.rooms.remember("one", "bad", 5, ["a"]),
    "offer": lambda world: world.rooms.offer("one", "bad", 5),
    "stand ready": lambda world: world.rooms.stand_ready("one", "bad", 5),
    "decline": lambda world: world.rooms.decline("one", "bad", 5),
    "withdraw": lambda world: world.rooms.withdraw("one", "bad", 5),
    "pass on": lambda world: world.rooms.pass_on("one", "bad", 5),
    "await pass": lambda world: world.rooms.await_pass("one", "bad", 5, limit_s=0.01),
    "hang up": lambda world: world.rooms.hangup("bad"),
    "stray": lambda world: world.rooms.stray("bad", "RM_1", "PA_1", 5),
    "due for a carrier": lambda world: world.rooms.due(carrier="one"),
    "reap": reap,
    "gone": gone,
    "list carriers": list_carriers,
}


@pytest.mark.parametrize("corrupt", ["newer version", "half an object", "a string"])
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
async def test_no_verb_stumbles(world: World, verb: Callable[[World], Awaitable[object]], corrupt: str) -> None:
    """Every verb that meets the room sets it aside, once, and raises nothing."""
    await put(world, "bad", CORRUPT[corrupt])
    for index in ("waiting", "due", "quarantined"):
        await world.redis.zadd(world.key(index), {"bad": 1})

    await verb(world)

    assert (await world.rooms.counters())["set_aside_rooms"] == 1
    assert await world.redis.exists(world.key("set_aside:bad"))


async def test_a_call_outlives_the_loss_of_its_room_state(world: World) -> None:
    """The owner's next renewal makes the room anew from what it holds."""
    await world.arrive()
    grant = await world.claim()
    await put(world, "demo", CORRUPT["half an object"])

    answers = await world.rooms.renew(
        "one", [Held("demo", grant.sid, grant.created_unix_ms, grant.fence, grant.callers)]
    )

    assert answers == [Renewal.MINE]
    assert (await world.look()).fence == grant.fence


@pytest.mark.parametrize("name", ["alive", "counters", "why:demo", "carrier:one", "held:one", "standby:one"])
async def test_a_stranger_on_another_key_of_ours_stops_nobody(world: World, name: str) -> None:
    """A key of the wrong type costs what was in it, and no more."""
    await world.redis.delete(world.key(name))
    await world.redis.set(world.key(name), "stranger")

    await world.arrive()
    await world.pass_ms(world.times.ttl_ms, sweep=True)

    assert (await world.claim()).room == "demo"


INDEXES = ("waiting", "due", "quarantined", "carriers")


async def put_strangers(world: World, *names: str) -> None:
    for name in names:
        await world.redis.delete(world.key(name))
        await world.redis.set(world.key(name), "stranger")


@pytest.mark.parametrize("name", INDEXES)
async def test_an_index_of_another_type_stops_no_verb_and_is_counted(world: World, name: str) -> None:
    """A new room is claimed, kept and given back as if nothing were; `roompool ps` tells of it."""
    await put_strangers(world, name)

    await world.arrive()
    grant = await world.claim()
    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]
    assert await world.rooms.release("one", "demo", grant.fence, Again(failed=True))
    await world.rooms.due()
    await world.carriers.cordon("one")

    assert [room.room for room in await world.rooms.rooms()] == ["demo"]
    assert (await world.rooms.counters())["keys_rebuilt"] == 1


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
async def test_no_verb_stumbles_over_an_index(
    world: World, verb: Callable[[World], Awaitable[object]], name: str
) -> None:
    """Whichever comes first mends it."""
    await world.arrive("bad")
    await put_strangers(world, name)

    result = await verb(world)

    assert not (isinstance(result, list) and any(isinstance(one, Exception) for one in result))
    assert await world.redis.type(world.key(name)) in {"none", "zset"}


@pytest.mark.parametrize("standing", ["waiting", "backing off", "owned", "lapsed"])
async def test_a_room_that_fell_out_of_the_indexes_is_found_by_the_next_reconciliation(
    world: World, standing: str
) -> None:
    """Every room that is in no index, and should be, is worth a look; the arrivals noted then put it back."""
    await world.arrive()
    if standing != "waiting":
        grant = await world.claim()
        if standing == "backing off":
            await world.rooms.release("one", "demo", grant.fence, Again(failed=True))
            grant = await world.claim()
            await world.rooms.release("one", "demo", grant.fence, Again(failed=True))
        if standing == "lapsed":
            world.silence(8000)
    await put_strangers(world, *INDEXES)

    assert await world.rooms.unowned([("demo", "RM_1")]) == [True]
    await world.arrive()

    assert await world.rooms.unowned([("demo", "RM_1")]) == [False]
    await world.pass_ms(2 * world.times.ttl_ms, sweep=True)
    assert (await world.claim("two")).room == "demo"


async def test_a_renewal_puts_the_room_back_into_the_indexes(world: World) -> None:
    """So a lease that ends later is found, as ever."""
    await world.arrive()
    grant = await world.claim()
    await put_strangers(world, *INDEXES, "held:one")

    assert await world.rooms.renew("one", [held(grant)]) == [Renewal.MINE]

    assert await world.members("held:one") == {"demo"}
    await world.pass_ms(2 * world.times.ttl_ms, sweep=True)
    assert (await world.claim("two")).room == "demo"


async def test_fields_of_a_later_edition_are_left_alone(world: World) -> None:
    """A field we do not know survives our writes, as long as the version says that we may write."""
    await world.arrive()
    await world.redis.hset(world.key("room:demo"), "colour", "green")  # type: ignore[misc]

    await world.claim()

    assert await world.redis.hget(world.key("room:demo"), "colour") == "green"  # type: ignore[misc]
