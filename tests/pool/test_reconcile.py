"""LiveKit's list held against room state: the decision by itself, then whole passes over a real server and Valkey."""

import asyncio
import itertools
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit import rtc
from redis.asyncio import Redis
from structlog.testing import capture_logs

from bridge.tokens import agent_token, caller_token
from deploy.local.livekit_server import LiveKitServer
from deploy.local.valkey import Valkey
from pool.contract import Arrived, RoomRules
from pool.reconcile import (
    LOCK_MS,
    YOUNG_MS,
    ListedParticipant,
    ListedRoom,
    Pass,
    Reconciler,
    RoomListFailed,
    wanted_arrivals,
    worth_a_look,
)
from pool.registry import Grant, Rooms, Standing
from pool.registry.connect import lease_redis
from pool.room_control import LiveKitRooms

RULES = RoomRules(globs=("*",), agent_identity="voice-agent")
NOW_MS = 1_800_000_000_000


def a_room(
    name: str = "r", *, sid: str = "RM_1", created_unix_ms: int = NOW_MS - 60_000, participants: int = 1
) -> ListedRoom:
    return ListedRoom(name=name, sid=sid, created_unix_ms=created_unix_ms, participants=participants)


def a_participant(
    sid: str = "PA_1",
    *,
    identity: str = "ann",
    kind: str = "STANDARD",
    is_present: bool = True,
    hidden: bool = False,
    recorder: bool = False,
    agent: bool = False,
    can_publish: bool = True,
) -> ListedParticipant:
    return ListedParticipant(
        sid=sid,
        identity=identity,
        kind=kind,
        is_present=is_present,
        joined_unix_ms=NOW_MS - 50_000,
        hidden=hidden,
        recorder=recorder,
        agent=agent,
        can_publish=can_publish,
    )


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        pytest.param(a_room(), True, id="somebody is there"),
        pytest.param(a_room(participants=0), False, id="nobody, and not young"),
        pytest.param(a_room(participants=0, created_unix_ms=NOW_MS - YOUNG_MS + 1), True, id="young: the count is old"),
        pytest.param(a_room(participants=0, created_unix_ms=NOW_MS + 5000), True, id="clocks differ"),
        pytest.param(a_room(sid=""), False, id="no sid"),
        pytest.param(a_room("é" * 2049), False, id="a name past our limit"),
        pytest.param(a_room("other"), False, id="not one of our rooms"),
    ],
)
def test_which_rooms_are_worth_a_look(room: ListedRoom, expected: bool) -> None:
    """Only what may hold a caller of ours costs a second question."""
    rules = RoomRules(globs=("r", "é*"), agent_identity="voice-agent")
    assert worth_a_look([room], rules, now_unix_ms=NOW_MS) == ([room] if expected else [])


@pytest.mark.parametrize(
    ("participant", "is_wanted"),
    [
        pytest.param(a_participant(), True, id="a person"),
        pytest.param(a_participant(kind="SIP"), True, id="a telephone"),
        pytest.param(a_participant(kind="AGENT"), False, id="an agent"),
        pytest.param(a_participant(kind="UNKNOWN_9"), False, id="a kind made later"),
        pytest.param(a_participant(identity="voice-agent"), False, id="our identity"),
        pytest.param(a_participant(hidden=True), False, id="hidden"),
        pytest.param(a_participant(recorder=True), False, id="a recorder"),
        pytest.param(a_participant(agent=True), False, id="an agent by permission"),
        pytest.param(a_participant(can_publish=False), False, id="a listener"),
        pytest.param(a_participant(is_present=False), False, id="gone"),
    ],
)
def test_who_is_noted(participant: ListedParticipant, is_wanted: bool) -> None:
    """The same rule as the receiver's, over what LiveKit lists."""
    arrived = Arrived("r", "RM_1", NOW_MS - 60_000, participant_sid="PA_1", joined_unix_ms=NOW_MS - 50_000)
    assert wanted_arrivals([a_room()], {"r": [participant]}, RULES) == ([arrived] if is_wanted else [])


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.sampled_from("abc"), unique=True),
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from(["STANDARD", "AGENT"]), max_size=3)),
)
def test_only_callers_of_listed_rooms_are_noted_each_once(names: list[str], kinds: dict[str, list[str]]) -> None:
    """Rooms that could not be looked at and people in other rooms change nothing."""
    numbers = itertools.count()
    participants = {
        name: [a_participant(f"PA_{next(numbers)}", kind=kind) for kind in inside] for name, inside in kinds.items()
    }
    arrived = wanted_arrivals([a_room(name, sid=f"RM_{name}") for name in names], participants, RULES)
    expected = {
        (f"RM_{name}", one.sid) for name in names for one in participants.get(name, []) if one.kind == "STANDARD"
    }
    assert {(one.sid, one.participant_sid) for one in arrived} == expected
    assert len(arrived) == len(expected)


# --- whole passes ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = lease_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def listing(livekit: LiveKitServer) -> AsyncIterator[LiveKitRooms]:
    async with LiveKitRooms.open(livekit.url, livekit.api_key, livekit.api_secret) as opened:
        yield opened


@pytest.fixture
def rooms(redis: Redis, redis_prefix: str) -> Rooms:
    return Rooms(redis, prefix=redis_prefix)


@pytest.fixture
def room() -> str:
    """A room that no other test has: the server is shared."""
    return f"{{reconcile}}-{secrets.token_hex(4)}"


def reconciler(
    redis: Redis, rooms: Rooms, listing: LiveKitRooms, room: str, *, prefix: str, carrier_id: str = "c1"
) -> Reconciler:
    """One that cares for this room alone."""
    glob = room.replace("[", "[[]")
    return Reconciler(
        redis, rooms, listing, rules=RoomRules((glob,), "voice-agent"), carrier_id=carrier_id, prefix=prefix
    )


@asynccontextmanager
async def joined(livekit: LiveKitServer, token: str) -> AsyncIterator[rtc.Room]:
    """Somebody in a room, for the length of the block."""
    room = rtc.Room()
    await room.connect(livekit.url, token)
    try:
        yield room
    finally:
        await room.disconnect()


@asynccontextmanager
async def a_caller_in(livekit: LiveKitServer, room: str) -> AsyncIterator[rtc.Room]:
    token = caller_token(livekit.api_key, livekit.api_secret, room=room, identity="ann")
    async with joined(livekit, token) as connected:
        yield connected


@pytest.mark.livekit
async def test_a_caller_no_webhook_told_of_is_noted_and_waits(
    livekit: LiveKitServer, redis: Redis, rooms: Rooms, listing: LiveKitRooms, room: str, redis_prefix: str
) -> None:
    """One pass over LiveKit's own list makes the room claimable, and its names are those of the webhook."""
    await rooms.due()  # Redis is in use since before the room
    async with a_caller_in(livekit, room) as connected:
        reconcile = reconciler(redis, rooms, listing, room, prefix=redis_prefix)
        assert await reconcile.reconcile_once() is Pass.DONE
        state = await rooms.look(room)
        assert state is not None
        assert state.standing is Standing.WAITING
        assert state.sid == await connected.sid
        assert list(state.callers) == [connected.local_participant.sid]
        joined_unix_ms = state.callers[connected.local_participant.sid]
        assert abs(joined_unix_ms - state.now_unix_ms) < 30_000
        assert state.created_unix_ms <= joined_unix_ms


@pytest.mark.livekit
async def test_a_room_with_an_owner_is_not_even_looked_into(
    livekit: LiveKitServer, redis: Redis, rooms: Rooms, listing: LiveKitRooms, room: str, redis_prefix: str
) -> None:
    """Its carrier sees who comes and goes."""
    await rooms.due()
    async with a_caller_in(livekit, room):
        first = reconciler(redis, rooms, listing, room, prefix=redis_prefix)
        await first.reconcile_once()
        assert isinstance(await rooms.claim_next("c1", capacity=1), Grant)
        await redis.delete(f"{redis_prefix}reconcile")
        with capture_logs() as logs:
            assert await first.reconcile_once() is Pass.DONE
        assert logs == []  # it speaks when it noted somebody


@pytest.mark.livekit
async def test_an_agent_alone_is_nobody_to_serve(
    livekit: LiveKitServer, redis: Redis, rooms: Rooms, listing: LiveKitRooms, room: str, redis_prefix: str
) -> None:
    """By its kind; and what LiveKit lists of it is what we put into its token."""
    token = agent_token(
        livekit.api_key,
        livekit.api_secret,
        room=room,
        identity="somebody-elses-agent",
        name="Agent",
        attributes={},
    )
    async with joined(livekit, token):
        reconcile = reconciler(redis, rooms, listing, room, prefix=redis_prefix)
        assert await reconcile.reconcile_once() is Pass.DONE
        (listed,) = await listing.list_participants(room)
        assert (listed.kind, listed.agent, listed.can_publish, listed.is_present) == ("AGENT", False, True, True)
        assert await rooms.look(room) is None


@pytest.mark.livekit
async def test_a_participant_can_be_put_out(livekit: LiveKitServer, listing: LiveKitRooms, room: str) -> None:
    """Once; after that there is nobody of that identity."""
    gone = asyncio.Event()
    async with a_caller_in(livekit, room) as connected:
        connected.on("disconnected", lambda reason: gone.set())
        assert await listing.remove_participant(room, "ann")
        async with asyncio.timeout(10):
            await gone.wait()
        assert not await listing.remove_participant(room, "nobody")


@pytest.mark.livekit
async def test_a_room_nobody_knows_holds_nobody(listing: LiveKitRooms, room: str) -> None:
    """An empty answer or none, as the server is set up: neither proves that a room has ended."""
    try:
        listed = await listing.list_participants(room)
    except RoomListFailed as failure:
        assert failure.reason == "http_503"
    else:
        assert listed == []


@pytest.fixture
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a pass to the next it takes longer than from a line of a test to the next."""
    monkeypatch.setattr("pool.reconcile.LOCK_MS", 60_000)
    monkeypatch.setattr("pool.reconcile.REST_MS", 30_000)


@pytest.mark.livekit
@pytest.mark.usefixtures("long_rest")
async def test_carriers_take_turns(
    livekit: LiveKitServer, redis: Redis, rooms: Rooms, listing: LiveKitRooms, room: str, redis_prefix: str
) -> None:
    """Two at once: one pass. Right after it: none, for as long as carriers rest."""
    passes = [reconciler(redis, rooms, listing, room, prefix=redis_prefix, carrier_id=f"c{n}") for n in (1, 2)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.reconcile_once()) for one in passes]
    assert sorted(task.result() for task in tasks) == [Pass.DONE, Pass.SKIPPED]
    assert await passes[0].reconcile_once() is Pass.SKIPPED
    assert 0 < await redis.pttl(f"{redis_prefix}reconcile") <= 30_000


@pytest.mark.livekit
async def test_a_carrier_that_died_in_its_pass_blocks_the_others_for_a_while_only(
    redis: Redis, rooms: Rooms, room: str, redis_prefix: str
) -> None:
    """The lock has an end of its own."""
    taken = asyncio.Event()

    class Endless(LiveKitRooms):
        def __init__(self) -> None:
            pass

        async def list_rooms(self) -> list[ListedRoom]:
            taken.set()
            await asyncio.Event().wait()
            return []

    reconcile = reconciler(redis, rooms, Endless(), room, prefix=redis_prefix)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reconcile.reconcile_once())
        await taken.wait()
        assert 0 < await redis.pttl(f"{redis_prefix}reconcile") <= LOCK_MS
        task.cancel()


@pytest.mark.livekit
@pytest.mark.parametrize("lasts_s", [None, 86_400], ids=["without an end", "for a day"])
@pytest.mark.parametrize("kind", ["string", "sorted set"])
@pytest.mark.usefixtures("long_rest")
async def test_a_lock_that_no_carrier_wrote_is_broken(
    lasts_s: int | None, kind: str, redis: Redis, rooms: Rooms, listing: LiveKitRooms, room: str, redis_prefix: str
) -> None:
    """A hand at the keys does not end reconciliation for good."""
    key = f"{redis_prefix}reconcile"
    if kind == "string":
        await redis.set(key, "stranger")
    else:
        await redis.zadd(key, {"stranger": 1})
    if lasts_s:
        await redis.expire(key, lasts_s)

    reconcile = reconciler(redis, rooms, listing, room, prefix=redis_prefix)

    assert await reconcile.reconcile_once() is Pass.DONE
    assert await reconcile.reconcile_once() is Pass.SKIPPED


async def test_livekit_away_harms_nothing(redis: Redis, rooms: Rooms, redis_prefix: str, room: str) -> None:
    """Nobody listens there: the pass fails, quietly, and what is in room state stays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    arrived = Arrived(room, "RM_1", NOW_MS, participant_sid="PA_1", joined_unix_ms=NOW_MS)
    await rooms.note(arrived)
    before = await rooms.look(room)
    async with LiveKitRooms.open(f"ws://127.0.0.1:{port}", "key", "s" * 32) as listing:
        assert await reconciler(redis, rooms, listing, room, prefix=redis_prefix).reconcile_once() is Pass.FAILED
    after = await rooms.look(room)
    assert before is not None
    assert after is not None
    assert (before.callers, before.sid) == (after.callers, after.sid)


@pytest.mark.livekit
async def test_a_wrong_key_is_told_from_a_server_that_is_away(livekit: LiveKitServer) -> None:
    """Refused, not unreachable: the reason says so."""
    async with LiveKitRooms.open(livekit.url, livekit.api_key, "not-the-secret-but-as-long-as-one-is") as listing:
        with pytest.raises(RoomListFailed) as caught:
            await listing.list_rooms()
    assert caught.value.reason == "http_401"


@pytest.mark.livekit
async def test_redis_away_fails_the_pass_and_no_more(
    valkey: Valkey, listing: LiveKitRooms, redis_prefix: str, room: str
) -> None:
    """The loop that asks goes on, and the next pass works."""
    client = lease_redis(valkey.url)
    try:
        reconcile = reconciler(client, Rooms(client, prefix=redis_prefix), listing, room, prefix=redis_prefix)
        assert await reconcile.reconcile_once() is Pass.DONE
        valkey.kill()
        assert await reconcile.reconcile_once() is Pass.FAILED
        await valkey.revive(keep_data=False)
        assert await reconcile.reconcile_once() is Pass.DONE
    finally:
        await client.aclose()
