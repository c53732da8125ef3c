"""What room state costs with many rooms in it: claims, renewals and sweeps against a real Valkey.

The rooms are there by the verbs that put them there in life. A thousand carriers beat and renew at a rate that is the
same for every number of rooms, so that only that number differs; carriers without a room of their own only beat.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.bench.cores import a_core_apart, on_core
from deploy.local.bench.figures import Figure, Measured, Verdict, find
from deploy.local.bench.row import Bench, CannotMeasure, Row
from deploy.local.measuring import leaves
from deploy.local.proc_stat import Stat
from deploy.local.spread import percentile
from deploy.local.valkey import Valkey
from pool.contract import Arrived
from pool.registry import CarrierRecord, Carriers, Gone, Grant, Held, Renewal, Rested, Rooms, Times
from pool.registry.connect import lease_redis

T = TypeVar("T")

SUBJECT = "registry"
ROOMS = (100, 1_000, 10_000)

CARRIERS = 1_000
HELD_EACH = 8
"""The default capacity of a carrier, and of each that holds any: a claim looks at all that its carrier holds."""
WAITING = 20
"""Rooms that wait at any time. What is neither owned nor waits has rested."""

RENEWALS_PER_S = 100
"""Pipelines of eight rooms. A thousand carriers in life come to 1 100; with them two cores that also have Python
clients in all of their places would measure those."""
BEATS_PER_S = 500
"""As in life: each carrier every two seconds."""
CLAIMS_PER_S = 40
SWEEPS_PER_S = 10
PINGS_PER_S = 40

TIMES = Times(ttl_ms=60_000)
"""Leases that outlast loading, and the ten seconds here between two renewals of a carrier."""

MEASURED_S = 10.0
"""For each number of rooms in each round."""

AT_ONCE = 12
"""Tasks that load: fewer than the 16 connections, for which they would have to wait."""
MOST_AT_ONCE = 500
"""Of one verb under way: more is a sign that the machine is overcome."""
LIMIT_S = 120.0
"""For one number of rooms, from loading to the last answer."""

REACH_P99_MS = 20.0
REACH_FLAT = 1.5

CLAIM, RENEW, SWEEP, PING = "claim_next", "renewal of 8", "sweep", "PING"
"""The last one does nothing: what it takes is the machine's and the client's part of the others."""


async def run(bench: Bench) -> Sequence[Measured]:
    """As many rounds as the bench says; in each every number of rooms, in a Valkey of its own.

    Raises:
        ServerFailed: Valkey did not come up.
        CannotMeasure: The machine could not keep the pace.
    """
    timings = {rooms: _Timings() for rooms in ROOMS}
    for number in range(1, bench.repeat + 1):
        for rooms in ROOMS:
            await _with_valkey(bench.run_dir / f"registry-{number}-{rooms}", rooms, timings[rooms], bench)
    return [timings[rooms].measured(_case(rooms)) for rooms in ROOMS]


def judge(measured: Sequence[Measured]) -> Sequence[Verdict]:
    """That a claim is quick where there are many rooms, and no slower for it."""
    few, many = find(measured, SUBJECT, _case(ROOMS[0])), find(measured, SUBJECT, _case(ROOMS[-1]))
    if few is None or many is None:
        return []
    p50, p99 = f"{CLAIM} p50", f"{CLAIM} p99"
    flat = many.figures[p50].median / few.figures[p50].median
    return [
        Verdict(f"claim_next, p99 at {ROOMS[-1]:,} rooms, ms", many.figures[p99].median, REACH_P99_MS),
        Verdict(f"claim_next, p50 at {ROOMS[-1]:,} rooms by p50 at {ROOMS[0]:,}", flat, REACH_FLAT),
    ]


ROW = Row(
    name="registry",
    what=f"claims, renewals and sweeps with up to {ROOMS[-1]:,} rooms and {CARRIERS:,} carriers in Valkey",
    run=run,
    judge=judge,
)


def _case(rooms: int) -> str:
    return f"{rooms:,} rooms"


# -- what was measured


@dataclass(slots=True)
class _Timings:
    """Figures of one number of rooms, a value a round."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By name and unit."""

    def add(self, clocks: Mapping[str, "_Clock"], *, loaded_s: float, valkey_core: float, script_us: float) -> None:
        """One round.

        Args:
            script_us: What a script took in Valkey itself, the mean of all verbs.
        """
        for verb, clock in clocks.items():
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                self._add(f"{verb} {name}", "ms", percentile(clock.durations_s, share) * 1000)
            self._add(f"{verb} rate", "/s", len(clock.durations_s) / MEASURED_S)
        self._add("loading", "s", loaded_s)
        self._add("Valkey", "% of a core", valkey_core * 100)
        self._add("a script in Valkey", "us", script_us)

    def measured(self, case: str) -> Measured:
        figures = {name: Figure(unit, tuple(values)) for (name, unit), values in self.values.items()}
        return Measured(subject=SUBJECT, case=case, figures=figures, processes=1)

    def _add(self, name: str, unit: str, value: float) -> None:
        self.values.setdefault((name, unit), []).append(value)


class _Clock:
    """Times one verb in one round."""

    def __init__(self) -> None:
        self.durations_s: list[float] = []

    @contextlib.contextmanager
    def timing(self) -> Iterator[None]:
        began_at = time.perf_counter()
        yield
        self.durations_s.append(time.perf_counter() - began_at)


# -- the rooms


@dataclass(slots=True)
class _Population:
    """All that is in Redis, and the verbs to change it with.

    Attributes:
        held: What each carrier that has rooms holds, by its id.
    """

    rooms: Rooms
    carriers: Carriers
    began_unix_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    held: dict[str, list[Held]] = field(default_factory=dict)
    callers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def created_unix_ms(self) -> int:
        """Of all rooms: later than Redis' data began, or one might have had an owner who is waited for."""
        return self.began_unix_ms + TIMES.ttl_ms

    async def load(self, number: int) -> None:
        """Bring in so many rooms: most owned, a few waiting, the rest rested.

        Raises:
            CannotMeasure: Room state answers otherwise than it must.
        """
        await self.rooms.due()  # the first verb of a carrier, with which Redis' data begins
        await _each(range(CARRIERS), self.beat)
        owners = min((number - WAITING) // HELD_EACH, CARRIERS)
        rested = number - WAITING - owners * HELD_EACH
        names = [f"room-{index}" for index in range(number)]
        await _each(names[:rested], self._rest)
        starts = range(rested, number - WAITING, HELD_EACH)
        await _each(enumerate(names[start : start + HELD_EACH] for start in starts), self._fill)
        await _each(names[number - WAITING :], self.arrive)

    async def arrive(self, room: str) -> None:
        """Somebody who was never here before comes into the room."""
        number = next(self.callers)
        arrived = Arrived(room, f"RM_{room}", self.created_unix_ms, f"PA_{number}", self.created_unix_ms + number)
        await self.rooms.note(arrived)

    async def claim(self, carrier: str) -> Grant:
        """Take the room that has waited longest.

        Raises:
            CannotMeasure: It was granted none, though it has a slot and rooms wait.
        """
        answer = await self.rooms.claim_next(carrier, capacity=HELD_EACH)
        if not isinstance(answer, Grant):
            raise CannotMeasure(f"a carrier with a slot was granted nothing: {answer.value}")
        return answer

    async def beat(self, index: int) -> None:
        """Say that a carrier lives."""
        carrier = _name(index)
        record = CarrierRecord(
            id=carrier,
            worker=f"worker-{index // 2}",
            host="bench",
            pid=index,
            revision="1",
            capacity=HELD_EACH,
            in_use=len(self.held.get(carrier, ())),
            draining=False,
            started_unix_ms=self.began_unix_ms,
            worker_started_unix_ms=self.began_unix_ms,
        )
        await self.carriers.beat(record)

    async def _fill(self, numbered: tuple[int, Sequence[str]]) -> None:
        """Let a carrier hold as many rooms as these, if not these: it takes who has waited longest."""
        index, rooms = numbered
        held = self.held.setdefault(_name(index), [])
        for room in rooms:
            await self.arrive(room)
            held.append(_held(await self.claim(_name(index))))

    async def _rest(self, room: str) -> None:
        carrier = _name(next(self.callers) % CARRIERS)  # of its own, since capacity counts what is claimed meanwhile
        await self.arrive(room)
        grant = await self.claim(carrier)
        await self.rooms.release(carrier, grant.room, grant.fence, Rested(grant.callers))


def _name(index: int) -> str:
    return f"carrier-{index}"


def _held(grant: Grant) -> Held:
    return Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, grant.callers)


# -- what is done with them


async def _with_valkey(run_dir: Path, rooms: int, timings: _Timings, bench: Bench) -> None:
    """In a Valkey that has a core to itself, as one in production would have a machine."""
    overcome = ""
    with a_core_apart() as its_core:
        valkey = Valkey(run_dir)
        try:
            with on_core(its_core):
                await valkey.start()
            async with asyncio.timeout(LIMIT_S):
                await _measure(valkey, rooms, timings, bench)
        except* (CannotMeasure, RedisError, TimeoutError) as several:
            overcome = "; ".join({str(error).rstrip(".") or type(error).__name__ for error in leaves(several)})
        finally:
            valkey.end()
    if overcome:
        raise CannotMeasure(f"{_case(rooms)}: {overcome}. Cure: leave the machine alone for a minute")


async def _measure(valkey: Valkey, rooms: int, timings: _Timings, bench: Bench) -> None:
    """Load so many rooms, and let carriers live with them for a while."""
    async with _redis(valkey.url) as redis, _redis(valkey.url) as beside:
        population = _Population(Rooms(redis, times=TIMES), Carriers(redis, times=TIMES))
        began_at = time.perf_counter()
        await population.load(rooms)
        loaded_s = time.perf_counter() - began_at
        life = _Life(population, redis, beside)
        cpu_before_s, began_at = Stat.of(valkey.pid).cpu_s, time.perf_counter()
        await redis.config_resetstat()
        await life.go_on()
        valkey_core = (Stat.of(valkey.pid).cpu_s - cpu_before_s) / (time.perf_counter() - began_at)
        scripts = (await redis.info("commandstats"))["cmdstat_evalsha"]
        timings.add(life.clocks, loaded_s=loaded_s, valkey_core=valkey_core, script_us=scripts["usec_per_call"])
    p99_ms = percentile(life.clocks[CLAIM].durations_s, 0.99) * 1000
    bench.tell(f"{_case(rooms)}, loaded in {loaded_s:.1f} s: claim_next p99 {p99_ms:.1f} ms, {life.lost} leases lost")


@contextlib.asynccontextmanager
async def _redis(url: str) -> AsyncIterator[Redis]:
    redis = lease_redis(url)
    try:
        yield redis
    finally:
        await redis.aclose()


class _Life:
    """Calls that end and begin, leases that are renewed, and sweeps, for `MEASURED_S`.

    Claims and what goes with them have connections of their own: a carrier does not share any with a thousand others.
    """

    def __init__(self, population: _Population, redis: Redis, beside: Redis) -> None:
        self.clocks = {verb: _Clock() for verb in (CLAIM, RENEW, SWEEP, PING)}
        self.lost = 0
        self._population = population
        self._redis = redis
        self._beside = Rooms(beside, times=TIMES)
        self._beats = replace(population, carriers=Carriers(beside, times=TIMES))
        owners = list(population.held)
        self._claimers, self._renewers = itertools.cycle(owners), itertools.cycle(owners)
        self._sweepers, self._beaters = itertools.cycle(owners), itertools.cycle(range(CARRIERS))

    async def go_on(self) -> None:
        """Let all of it happen at its pace.

        Raises:
            CannotMeasure: The machine cannot keep it.
        """
        async with asyncio.TaskGroup() as group:
            for act, per_s in (
                (self._next_call, CLAIMS_PER_S),
                (self._renew, RENEWALS_PER_S),
                (self._sweep, SWEEPS_PER_S),
                (self._beat, BEATS_PER_S),
                (self._ping, PINGS_PER_S),
            ):
                group.create_task(_at_pace(act, per_s), name=act.__name__)

    async def _next_call(self) -> None:
        """One call of a carrier ends, somebody comes into that room again, and the carrier takes who waits longest."""
        population, carrier = self._population, next(self._claimers)
        ended = population.held[carrier].pop(0)
        await population.rooms.release(carrier, ended.room, ended.fence, Gone(ended.callers))
        await population.arrive(ended.room)
        with self.clocks[CLAIM].timing():
            grant = await population.claim(carrier)
        population.held[carrier].append(_held(grant))

    async def _renew(self) -> None:
        carrier = next(self._renewers)
        held = list(self._population.held[carrier])
        with self.clocks[RENEW].timing():
            answers = await self._beside.renew(carrier, held)
        still_held = {one.fence for one in self._population.held[carrier]}  # a call may have ended meanwhile
        pairs = zip(held, answers, strict=True)
        self.lost += sum(answer is not Renewal.MINE and one.fence in still_held for one, answer in pairs)

    async def _sweep(self) -> None:
        with self.clocks[SWEEP].timing():
            await self._beside.due(carrier=next(self._sweepers))

    async def _ping(self) -> None:
        with self.clocks[PING].timing():
            await self._redis.ping()

    async def _beat(self) -> None:
        await self._beats.beat(next(self._beaters))


async def _at_pace(act: Callable[[], Awaitable[None]], per_s: float) -> None:
    """Begin one act after the other for `MEASURED_S`, whether those before have ended or not, at times of chance.

    Many carriers know nothing of each other; at regular times the verbs would queue up behind each other.

    Raises:
        CannotMeasure: More than `MOST_AT_ONCE` are under way.
    """
    loop, draws = asyncio.get_running_loop(), random.Random(act.__name__)
    under_way = 0

    async def once() -> None:
        nonlocal under_way
        under_way += 1
        try:
            await act()
        finally:
            under_way -= 1

    async with asyncio.TaskGroup() as group:
        due_at = loop.time()
        ends_at = due_at + MEASURED_S
        while (due_at := due_at + draws.expovariate(per_s)) < ends_at:
            await asyncio.sleep(max(due_at - loop.time(), 0))
            if under_way >= MOST_AT_ONCE:
                raise CannotMeasure(f"this machine does not keep a pace of {per_s:g} {act.__name__} a second")
            group.create_task(once(), name=act.__name__)


async def _each(items: Iterable[T], act: Callable[[T], Awaitable[None]]) -> None:
    """Do it for all of them, `AT_ONCE` at a time."""
    rest = iter(items)

    async def some() -> None:
        for item in rest:
            await act(item)

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(some(), name=f"load {number}")
