"""A carrier on a real Valkey: claims, slots and releases. LiveKit is out of reach here, so every call ends by itself;
calls that talk are in tests/e2e."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from deploy.local.ports import free_port
from pool.carrier import Carrier
from pool.contract import Arrived
from pool.journal import DecisionLog, Fact
from pool.registry import CarrierRecord, Carriers, Grant, Offer, Rooms, RoomState, Standing
from pool.registry.connect import lease_redis
from pool.settings import PoolSettings

ID = "carrier-1"


class HeardLog(DecisionLog):
    """A decision log that a test can wait at."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        super().__init__(redis, prefix=prefix)
        self._appended = asyncio.Event()

    async def put(self, room: str, event: str, facts: Mapping[str, Fact], *, number: int = 0, late_ms: int = 0) -> None:
        await super().put(room, event, facts, number=number, late_ms=late_ms)
        self._appended.set()

    async def until(self, room: str, event: str) -> None:
        """Wait until the room's story has this event of the carrier's."""
        async with asyncio.timeout(20):
            while event not in [decision.event for decision in await self.read(room)]:
                await self._appended.wait()
                self._appended.clear()


@dataclass
class Harness:
    """A carrier that runs, and the room state it works on."""

    carrier: Carrier
    rooms: Rooms
    story: HeardLog
    carriers: Carriers
    dialled: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrive(self, room: str) -> None:
        now = int(time.time() * 1000) + 1000  # made after Redis' data began: nobody can have owned it before
        await self.rooms.note(Arrived(room, f"RM_{room}", now, f"PA_{room}", now))

    async def is_asked_to_stand_by(self, room: str = "a") -> Offer:
        """Somebody else owns a room and offers it; this carrier has heard of that."""
        await self.arrive(room)
        now = int(time.time() * 1000)
        await self.carriers.beat(CarrierRecord(ID, "worker", "host", 1, "", 2, 0, False, now, now))
        grant = await self.rooms.claim_next("owner", capacity=9)
        assert isinstance(grant, Grant)
        assert (await self.rooms.offer("owner", room, grant.fence)).next == ID
        (offer,) = (await self.rooms.due(carrier=ID)).offers
        self.carrier.offered([offer])
        return offer

    async def until_given_back(self, room: str = "a") -> RoomState:
        """Wait until nobody stands by for the room."""
        ends_at = time.monotonic() + 20
        while (state := await self.rooms.look(room)) is None or state.next is not None or self.carrier.in_use:
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.02)
        return state


@pytest.fixture
async def harness(redis_url: str, redis_prefix: str) -> AsyncIterator[Harness]:
    """A carrier whose LiveKit and voice are out of reach."""
    async with running(redis_url, redis_prefix, voice_port=free_port()) as harness:
        yield harness


@pytest.fixture
async def slow_harness(redis_url: str, redis_prefix: str) -> AsyncIterator[Harness]:
    """A carrier whose voice takes connections and says nothing."""
    dialled = asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.set()
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(be_silent, "127.0.0.1", 0)
    async with running(redis_url, redis_prefix, voice_port=server.sockets[0].getsockname()[1]) as harness:
        harness.dialled = dialled
        yield harness
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def running(redis_url: str, redis_prefix: str, *, voice_port: int) -> AsyncIterator[Harness]:
    redis = lease_redis(redis_url)
    settings = PoolSettings(
        _env_file=None,
        livekit_url=f"ws://127.0.0.1:{free_port()}",
        livekit_api_key="key",
        livekit_api_secret="a-secret-of-at-least-thirty-two-characters",
        assemblyai_api_key="any",
        voice_url=f"ws://127.0.0.1:{voice_port}",
        capacity=2,
    )
    rooms, story = Rooms(redis, prefix=redis_prefix), HeardLog(redis, prefix=redis_prefix)
    carrier = Carrier(ID, rooms, story, settings)
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as farewells, asyncio.TaskGroup() as core:
            tasks = [
                core.create_task(carrier.claim_forever(core, farewells)),
                core.create_task(carrier.renew_forever()),
                core.create_task(carrier.tell_forever()),
            ]
            yield Harness(carrier, rooms, story, Carriers(redis, prefix=redis_prefix))
            carrier.quiet()
            await carrier.empty()
            for task in tasks:
                task.cancel()
    await redis.aclose()


async def test_a_call_that_fails_gives_its_room_and_its_slot_back(harness: Harness) -> None:
    """The room waits for another attempt, the story says why, and the carrier is empty."""
    await harness.arrive("a")
    await harness.carrier.wake()
    await harness.story.until("a", "ended")
    state = await harness.rooms.look("a")
    assert state is not None
    assert state.owner is None
    assert state.standing in (Standing.WAITING, Standing.BACKING_OFF)
    (ended,) = [decision for decision in await harness.story.read("a") if decision.event == "ended"]
    assert ended.facts["ending"] == "room_unreachable"
    assert "LIVEKIT_URL" in str(ended.facts["cure"])


async def test_no_more_is_claimed_than_there_are_slots(harness: Harness) -> None:
    """Wishes count against the capacity until they are answered."""
    for room in "abcd":
        await harness.arrive(room)
    for _ in range(4):
        harness.carrier.want_claim()
    assert not harness.carrier.has_room()
    await harness.story.until("a", "ended")
    assert harness.carrier.in_use <= 2


async def test_a_quiet_carrier_claims_nothing_more(harness: Harness) -> None:
    """What was wished for before is dropped, and it is empty when its calls have ended."""
    harness.carrier.want_claim()
    harness.carrier.quiet()
    await harness.arrive("a")
    await harness.carrier.wake()
    await harness.carrier.empty()
    state = await harness.rooms.look("a")
    assert state is not None
    assert state.standing is Standing.WAITING


async def test_a_stand_by_without_a_voice_is_declined(harness: Harness) -> None:
    """Its owner keeps the call, somebody else is asked, and the slot is free again."""
    offer = await harness.is_asked_to_stand_by()
    state = await harness.until_given_back()
    assert (state.owner, state.fence) == ("owner", offer.fence)
    assert ID in state.declined


async def test_a_stand_by_occupies_a_slot(slow_harness: Harness) -> None:
    """As a call does, for it may be one in an instant; the same offer again is the same stand-by."""
    offer = await slow_harness.is_asked_to_stand_by()
    async with asyncio.timeout(20):
        await slow_harness.dialled.wait()
    slow_harness.carrier.offered([offer])
    assert slow_harness.carrier.in_use == 1
    assert slow_harness.carrier.has_room()
    slow_harness.carrier.want_claim()
    assert not slow_harness.carrier.has_room()


async def test_a_carrier_that_drains_gives_back_what_it_stands_by_for(slow_harness: Harness) -> None:
    """Without waiting for its voice, and without a mark against it."""
    await slow_harness.is_asked_to_stand_by()
    async with asyncio.timeout(20):
        await slow_harness.dialled.wait()
        slow_harness.carrier.quiet()
        await slow_harness.carrier.empty()
    state = await slow_harness.until_given_back()
    assert state.declined == {}
    assert state.owner == "owner"


async def test_a_carrier_that_drains_stands_by_for_nothing_more(harness: Harness) -> None:
    """An offer that was on its way is given back unopened."""
    harness.carrier.quiet()
    await harness.is_asked_to_stand_by()
    await harness.until_given_back()
    assert [one.event for one in await harness.story.read("a") if one.event == "voice_failed"] == []


async def test_stopping_ends_what_stands_by_as_well(slow_harness: Harness) -> None:
    """Out of time is out of time."""
    await slow_harness.is_asked_to_stand_by()
    async with asyncio.timeout(20):
        await slow_harness.dialled.wait()
        slow_harness.carrier.stop_calls()
        await slow_harness.until_given_back()


async def test_a_stand_by_that_is_cancelled_leaves_no_timer(slow_harness: Harness) -> None:
    """Which would give it up, long after it is gone."""
    await slow_harness.is_asked_to_stand_by()
    carrier = slow_harness.carrier
    async with asyncio.timeout(20):
        await slow_harness.dialled.wait()
        (stand_by,) = carrier._stand_bys.values()
        carrier.abandon_calls()
        carrier.quiet()
        await carrier.empty()
    assert stand_by._slow.cancelled()
