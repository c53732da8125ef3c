"""A carrier on a real Valkey: claims, slots and releases. LiveKit is out of reach here, so every call ends by itself;
calls that talk are in tests/e2e."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from deploy.local.ports import free_port
from pool.carrier import Carrier
from pool.contract import Arrived
from pool.journal import DecisionLog, Fact
from pool.registry import Rooms, Standing
from pool.registry.connect import lease_redis
from pool.settings import PoolSettings

ID = "carrier-1"


class HeardLog(DecisionLog):
    """A decision log that a test can wait at."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        super().__init__(redis, prefix=prefix)
        self._appended = asyncio.Event()

    async def append(self, room: str, event: str, **facts: Fact) -> bool:
        written = await super().append(room, event, **facts)
        self._appended.set()
        return written

    async def until(self, room: str, event: str) -> None:
        """Wait until the room's story has this event of the carrier's."""
        async with asyncio.timeout(20):
            while event not in [decision.event for decision in await self.read(room)]:
                await self._appended.wait()
                self._appended.clear()


@dataclass
class Desk:
    """A carrier that runs, and the room state it works on."""

    carrier: Carrier
    rooms: Rooms
    story: HeardLog

    async def arrive(self, room: str) -> None:
        now = int(time.time() * 1000) + 1000  # made after Redis' data began: nobody can have owned it before
        await self.rooms.note(Arrived(room, f"RM_{room}", now, f"PA_{room}", now))


@pytest.fixture
async def desk(redis_url: str, redis_prefix: str) -> AsyncIterator[Desk]:
    redis = lease_redis(redis_url)
    settings = PoolSettings(
        _env_file=None,
        livekit_url=f"ws://127.0.0.1:{free_port()}",
        livekit_api_key="key",
        livekit_api_secret="a-secret-of-at-least-thirty-two-characters",
        assemblyai_api_key="any",
        voice_url=f"ws://127.0.0.1:{free_port()}",
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
            yield Desk(carrier, rooms, story)
            carrier.quiet()
            await carrier.empty()
            for task in tasks:
                task.cancel()
    await redis.aclose()


async def test_a_call_that_fails_gives_its_room_and_its_slot_back(desk: Desk) -> None:
    """The room waits for another attempt, the story says why, and the carrier is empty."""
    await desk.arrive("a")
    await desk.carrier.wake()
    await desk.story.until("a", "ended")
    state = await desk.rooms.look("a")
    assert state is not None
    assert state.owner is None
    assert state.standing in (Standing.WAITING, Standing.BACKING_OFF)
    (ended,) = [decision for decision in await desk.story.read("a") if decision.event == "ended"]
    assert ended.facts["ending"] == "room_unreachable"
    assert "LIVEKIT_URL" in str(ended.facts["cure"])


async def test_no_more_is_claimed_than_there_are_slots(desk: Desk) -> None:
    """Wishes count against the capacity until they are answered."""
    for room in "abcd":
        await desk.arrive(room)
    for _ in range(4):
        desk.carrier.want_claim()
    assert not desk.carrier.has_room()
    await desk.story.until("a", "ended")
    assert desk.carrier.in_use <= 2


async def test_a_quiet_carrier_claims_nothing_more(desk: Desk) -> None:
    """What was wished for before is dropped, and it is empty when its calls have ended."""
    desk.carrier.want_claim()
    desk.carrier.quiet()
    await desk.arrive("a")
    await desk.carrier.wake()
    await desk.carrier.empty()
    state = await desk.rooms.look("a")
    assert state is not None
    assert state.standing is Standing.WAITING
