"""A call passed from one carrier to the next on a real Valkey: both sides, without a room and without a voice."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge import Ending, Outcome, Said
from deploy.local.ports import free_port
from pool.call import CarrierCallbacks, HeldCall
from pool.contract import Arrived
from pool.lease import Lease
from pool.memory import MemoryWriter, turns_of
from pool.passing import Passing
from pool.registry import CarrierRecord, Carriers, Grant, NoGrant, Offer, Renewal, Rooms
from pool.registry.connect import lease_redis
from pool.stand_by import StandBy

T = TypeVar("T")

PATIENCE_S = 30.0


def tried(result: str) -> float:
    """How many tries to hand a call over came to this."""
    return REGISTRY.get_sample_value("roompool_handovers_total", {"result": result}) or 0.0


@dataclass
class Side:
    """One carrier: what it holds and what it told."""

    id: str
    rooms: Rooms
    calls: dict[tuple[str, int], HeldCall] = field(default_factory=dict)
    told: list[tuple[str, Mapping[str, int | float | str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory_writer = MemoryWriter(self.id, self.rooms)
        self.passing = Passing(self.id, self.rooms, self.memory_writer, renew=self.renew)
        self.callbacks = CarrierCallbacks(
            tell=self.tell,
            note=self.memory_writer.note,
            renew=self.renew,
            token=lambda grant: "token",
            turn_to_join=nullcontext,
        )

    def end_passed_calls(self) -> None:
        """Their agents were put out by the next ones, as it goes."""
        for call in self.calls.values():
            if call.stop.is_asked:
                call.over.set()

    def tell(self, room: str, event: str, facts: Mapping[str, int | float | str]) -> None:
        self.told.append((event, facts))

    async def renew(self) -> bool:
        calls = list(self.calls.values())
        sent_at = asyncio.get_running_loop().time()
        try:
            answers = await self.rooms.renew(self.id, [call.held for call in calls])
        except (RedisError, OSError):
            return False
        for call, answer in zip(calls, answers, strict=True):
            assert isinstance(answer, Renewal)
            call.answered(answer, sent_at=sent_at)
        return True

    def hold(self, grant: Grant, *, sent_at: float) -> HeldCall:
        call = HeldCall(grant, Lease(grant.fence, sent_at=sent_at), self.callbacks, speaks_first=False)
        self.calls[call.key] = call
        return call

    def open_calls(self) -> list[HeldCall]:
        return [call for call in self.calls.values() if not call.stop.is_asked]

    async def claim(self) -> HeldCall:
        """A room of ours, in which we are, and where nobody speaks."""
        grant = await self.rooms.claim_next(self.id, capacity=9)
        assert isinstance(grant, Grant)
        call = self.hold(grant, sent_at=asyncio.get_running_loop().time())
        call.connected()
        call.callers(grant.callers)
        call.quiet(True)
        return call

    async def offers(self) -> Sequence[Offer]:
        return (await self.rooms.due(carrier=self.id)).offers

    async def stand_by(self, offer: Offer) -> StandBy:
        take = lambda grant: self.hold(grant, sent_at=asyncio.get_running_loop().time() - 3)  # noqa: E731
        return StandBy(self.id, offer, self.rooms, tell=self.tell, take=take)

    async def asked(self) -> StandBy:
        """Wait until we are asked to stand by."""
        offers = await until(self.offers)
        return await self.stand_by(offers[0])


async def until(answer: Callable[[], Awaitable[T]]) -> T:
    """Ask until the answer is true."""
    ends_at = time.monotonic() + PATIENCE_S
    while not (got := await answer()):
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.02)
    return got


@dataclass
class Pair:
    old: Side
    new: Side
    carriers: Carriers

    async def arrive(self, room: str) -> None:
        now = int(time.time() * 1000) + 1000  # made after Redis' data began: nobody can have owned it before
        await self.old.rooms.note(Arrived(room, f"RM_{room}", now, f"PA_{room}", now))

    async def beat(self, side: Side, *, draining: bool) -> None:
        now = int(time.time() * 1000)
        await self.carriers.beat(CarrierRecord(side.id, side.id, "host", 1, "", 8, 0, draining, now, now))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = lease_redis(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def pair(redis: Redis, redis_prefix: str) -> Pair:
    """An owner that drains and a carrier with room, and one caller who waits in room `a`."""
    rooms = Rooms(redis, prefix=redis_prefix)
    pair = Pair(Side("old", rooms), Side("new", rooms), Carriers(redis, prefix=redis_prefix))
    await pair.beat(pair.old, draining=False)
    await pair.beat(pair.new, draining=False)
    await pair.arrive("a")
    return pair


async def test_a_call_is_passed_with_everything_that_was_said(pair: Pair) -> None:
    """The next has the turns of the offer, then those since; the old one is mute before the next may join."""
    call = await pair.old.claim()
    call.turn(Said("agent", "hello"))
    await pair.old.memory_writer.flush(*call.key)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.calls.values))
        stand_by = await pair.new.asked()
        assert [said.text for said in turns_of(stand_by.offer.memory)] == ["hello"]
        assert not (stand_by.may_join() or stand_by.may_speak() or await stand_by.confirm())
        call.turn(Said("caller", "one more thing"))
        call.turn(Said("agent", "yes?"))
        stand_by.ready()
        since = await stand_by.wait()
        assert since == (Said("caller", "one more thing"), Said("agent", "yes?"))
        assert not call.may_speak()
        assert await call.stop.wait() is Ending.PASSED
        assert stand_by.may_join()
        assert stand_by.call is not None
        assert stand_by.call.grant.fence > call.grant.fence
        handing.cancel()


async def test_a_call_is_passed_when_it_is_quiet(pair: Pair) -> None:
    """Who has just finished speaking is answered by the agent that heard it, and the next one knows the answer."""
    call = await pair.old.claim()
    call.quiet(False)
    call.turn(Said("caller", "what time is it?"))
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.calls.values))
        stand_by = await pair.new.asked()
        stand_by.ready()
        wait = group.create_task(stand_by.wait())
        done, _ = await asyncio.wait([wait], timeout=1)
        assert not done
        call.turn(Said("agent", "ten"))
        call.quiet(True)
        since = await wait
        assert since is not None
        assert [said.text for said in since] == ["what time is it?", "ten"]
        handing.cancel()


async def test_a_stand_by_that_fails_costs_nothing(pair: Pair) -> None:
    """It declines and is not asked again for a while; the call goes on where it is."""
    call = await pair.old.claim()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.calls.values))
        stand_by = await pair.new.asked()
        await stand_by.over(Outcome(Ending.VOICE_REFUSED))
        await pair.old.renew()
        assert await pair.new.offers() == ()
        assert (call.may_speak(), call.stop.is_asked) == (True, False)
        handing.cancel()


async def test_a_call_that_ends_meanwhile_is_offered_no_longer(pair: Pair) -> None:
    """Whoever stood by for it is told so at once."""
    call = await pair.old.claim()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.calls.values))
        stand_by = await pair.new.asked()
        call.quiet(False)
        stand_by.ready()
        wait = group.create_task(stand_by.wait())
        call.over.set()
        assert await wait is None
        assert stand_by.call is None
        handing.cancel()


async def test_a_caller_who_vanishes_while_somebody_stands_by_keeps_the_call_where_it_is(pair: Pair) -> None:
    """The agent that knows the caller waits for the return; then the hand-over begins anew."""
    call = await pair.old.claim()
    call.quiet(False)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.calls.values))
        stand_by = await pair.new.asked()
        stand_by.ready()
        wait = group.create_task(stand_by.wait())
        call.callers({})
        call.quiet(True)
        assert await wait is None
        assert not call.stop.is_asked
        call.callers({"PA_a": 1})
        again = await pair.new.asked()
        assert await again.wait() == ()
        handing.cancel()


async def test_a_draining_carrier_gives_back_what_it_stands_by_for(pair: Pair) -> None:
    """And is asked for nothing more."""
    call = await pair.old.claim()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.calls.values))
        stand_by = await pair.new.asked()
        await pair.beat(pair.new, draining=True)
        await stand_by.give_back()
        assert await stand_by.stop.wait() is Ending.NOT_NEEDED
        assert await pair.new.offers() == ()
        assert call.may_speak()
        handing.cancel()


async def test_a_room_that_is_passed_to_a_stand_by_that_just_failed_goes_to_the_next(pair: Pair) -> None:
    """Not when its lease has ended, but at once; and not to the one that failed."""
    call = await pair.old.claim()
    await pair.old.rooms.offer("old", "a", call.grant.fence)
    stand_by = await pair.new.asked()
    assert await pair.new.rooms.stand_ready("new", "a", call.grant.fence)
    assert await pair.old.rooms.pass_on("old", "a", call.grant.fence) is not None
    await stand_by.over(Outcome(Ending.VOICE_LOST))
    assert await pair.new.rooms.claim_next("new", capacity=9) is NoGrant.NOTHING
    assert isinstance(await pair.new.rooms.claim_next("third", capacity=9), Grant)


async def test_at_most_two_calls_are_handed_over_at_once(pair: Pair) -> None:
    """Each holds a second voice session; the others wait their turn, and all of them come to it."""
    await pair.old.claim()
    for room in "bcde":
        await pair.arrive(room)
        await pair.old.claim()
    most = 0
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.open_calls))
        while len(pair.new.calls) < 5:
            offers = await until(pair.new.offers)
            most = max(most, len(offers))
            stand_bys = [await pair.new.stand_by(offer) for offer in offers]
            for stand_by in stand_bys:
                stand_by.ready()
                assert await stand_by.wait() == ()
                pair.old.end_passed_calls()
        handing.cancel()
    assert most <= 2
    assert all(call.stop.is_asked for call in pair.old.calls.values())


async def test_one_call_at_a_time_is_between_two_agents(pair: Pair) -> None:
    """Both may be stood by for, and be quiet; the second is passed when the first one's old agent is gone."""
    await pair.old.claim()
    await pair.arrive("b")
    await pair.old.claim()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.open_calls))
        stand_bys: dict[str, StandBy] = {}
        while len(stand_bys) < 2:
            for offer in await pair.new.offers():
                if offer.room not in stand_bys:
                    stand_bys[offer.room] = await pair.new.stand_by(offer)
                    stand_bys[offer.room].ready()
        waits = [group.create_task(one.wait()) for one in stand_bys.values()]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait(waits, timeout=0.5)  # what must not happen would happen within milliseconds
        assert len(done) == 1
        pair.old.end_passed_calls()
        await asyncio.wait(waits)
        handing.cancel()


async def test_nobody_joins_on_a_pass_alone(pair: Pair) -> None:
    """The message may have lain there for longer than the lease: only an answer to our own renewal lets us in."""
    call = await pair.old.claim()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        await pair.old.rooms.offer("old", "a", call.grant.fence)
        stand_by = await pair.new.asked()
        permitted: list[bool] = []
        renew = pair.new.renew

        async def watched() -> bool:
            permitted.append(stand_by.may_join())
            return await renew()

        pair.new.callbacks = CarrierCallbacks(
            tell=pair.new.tell,
            note=pair.new.memory_writer.note,
            renew=watched,
            token=lambda grant: "",
            turn_to_join=nullcontext,
        )
        wait = group.create_task(stand_by.wait())
        await until(lambda: pair.old.rooms.pass_on("old", "a", call.grant.fence))
        assert await wait == ()
        assert permitted == [False]
        assert stand_by.may_join()


async def test_connections_that_break_all_the_time_cost_no_call(pair: Pair, redis: Redis) -> None:
    """Whatever was in flight: in the end exactly one of the two has the room, and both know which."""
    call = await pair.old.claim()

    async def stand_by_forever() -> None:
        while not pair.new.calls:
            with suppress(RedisError, OSError):
                stand_by = await pair.new.asked()
                stand_by.ready()
                if await stand_by.wait() is None:
                    await stand_by.over(Outcome(Ending.NOT_NEEDED))

    async def break_them() -> None:
        for _ in range(60):
            with suppress(RedisError, OSError):
                await redis.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.02)

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        handing = group.create_task(pair.old.passing.forever(pair.old.open_calls))
        standing = group.create_task(stand_by_forever())
        await break_them()
        await standing
        handing.cancel()
    await pair.old.renew()
    await pair.new.renew()
    (new,) = pair.new.calls.values()
    state = await pair.new.rooms.look("a")
    assert state is not None
    assert (state.owner, state.fence) == ("new", new.grant.fence)
    assert (call.may_speak(), await call.stop.wait()) == (False, Ending.PASSED)
    assert new.may_join()


async def test_a_call_without_redis_stays(pair: Pair) -> None:
    """No answer is no reason to fall silent, and other tries follow."""
    call = await pair.old.claim()
    before = tried("unreachable")
    nowhere = lease_redis(f"redis://127.0.0.1:{free_port()}/0")
    passing = Passing("old", Rooms(nowhere), pair.old.memory_writer, renew=pair.old.renew)
    async with asyncio.TaskGroup() as group:
        handing = group.create_task(passing.forever(pair.old.calls.values))

        async def has_failed() -> bool:
            return tried("unreachable") > before

        await until(has_failed)
        assert (call.may_speak(), call.stop.is_asked) == (True, False)
        handing.cancel()
    await nowhere.aclose()


async def test_only_a_call_that_is_under_way_is_offered(pair: Pair) -> None:
    """Before the greeting the next owner would go on in silence, and nobody would ever greet; without a caller it would
    not wait as long as we do; out of its room it may not be ours."""
    grant = (await pair.old.claim()).grant
    lease = Lease(grant.fence, sent_at=asyncio.get_running_loop().time())
    call = HeldCall(grant, lease, pair.old.callbacks, speaks_first=True)
    assert not call.can_be_passed_on()
    call.connected()
    call.callers(grant.callers)
    assert not call.can_be_passed_on()
    call.event("first_sound")
    assert call.can_be_passed_on()
    call.callers({})
    assert not call.can_be_passed_on()
    call.callers(grant.callers)
    call.disconnected()
    assert not call.can_be_passed_on()
    call.connected()
    call.answered(Renewal.MINE, sent_at=asyncio.get_running_loop().time())
    assert call.can_be_passed_on()
    call.stop.ask(Ending.HUNG_UP)
    assert not call.can_be_passed_on()
