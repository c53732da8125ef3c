"""How many verified webhooks the receiver answers on one core, and what it does with five times as many.

The receiver and Valkey are real; LiveKit is played by requests that are made and signed before the clock starts. The
receiver has a core to itself; Valkey and the load share the others.
"""

import asyncio
import contextlib
import resource
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from deploy.local.bench.cores import a_core_apart, on_core
from deploy.local.bench.deliveries import Call, Delivery, signed
from deploy.local.bench.figures import Figure, Measured, Verdict, find
from deploy.local.bench.http_load import Answer, Round, at_pace, in_turn
from deploy.local.bench.row import Bench, CannotMeasure, Row
from deploy.local.livekit_server import LiveKitKeys
from deploy.local.measuring import leaves
from deploy.local.proc_stat import Stat
from deploy.local.processes import Processes
from deploy.local.spread import percentile
from deploy.local.stack import WEBHOOK_PATH
from deploy.local.valkey import Valkey
from pool.contract import Arrived
from pool.registry import Noted, Rooms
from pool.registry.connect import lease_redis

SUBJECT = "receiver"
MIXED, JOINS, FLOOD, AFTER = "all events of calls", "callers' joins alone", "five times as many", "after the flood"

MIXED_CALLS = 1200
"""Nine deliveries each, in the order in which LiveKit sends them."""
JOINS_ALONE = 5_000
AFTER_CALLS = 120

CONNECTIONS = 16
"""As many deliveries under way at a time: about what the queues of one livekit-server come to."""

LIVEKIT_REPEATS = 5
"""After an answer of 5xx, or none."""

FLOOD_TIMES = 5
FLOOD_S = 5.0
FLOOD_CONNECTIONS = 6000
"""At most, as file descriptors allow: far more than the 1024 that the receiver takes at one time."""
FILES_KEPT = 200
"""File descriptors for everything else."""

LIMIT_S = 60.0
ANSWER_LIMIT_S = 30.0
"""For the last answer after the flood."""

REACH_PER_S = 1000.0

_LOOKS_AT_ONCE = 12


async def run(bench: Bench) -> Sequence[Measured]:
    """As many rounds as the bench says, each with a receiver and a Valkey of its own.

    Raises:
        CannotMeasure: This machine has no two cores, or is so busy that not even Valkey answers.
        ServerFailed, ProcessEnded, NeverSaid: A program did not come up.
    """
    tally = _Tally()
    for number in range(1, bench.repeat + 1):
        overcome = ""
        async with _receiving(bench.run_dir / f"receiver-{number}") as site:
            try:
                await _measure(site, tally, bench)
            except* (RedisError, OSError) as several:
                overcome = "; ".join({str(error).rstrip(".") or type(error).__name__ for error in leaves(several)})
        if overcome:
            raise CannotMeasure(f"{overcome}. Cure: leave the machine alone for a minute")
    return tally.measured()


def judge(measured: Sequence[Measured]) -> Sequence[Verdict]:
    """The rate of one core, and that a flood costs nothing but answers that ask to repeat."""
    mixed, flood, after = (find(measured, SUBJECT, case) for case in (MIXED, FLOOD, AFTER))
    if mixed is None or flood is None or after is None:
        return []
    return [
        Verdict("verified webhooks a second on one core", mixed.figures["answered"].median, REACH_PER_S, at_least=True),
        Verdict("deliveries answered 2xx in five times that, and lost", flood.lost, 0),
        Verdict("answers of 5xx that are no 503", sum(flood.figures["other 5xx"].values), 0),
        Verdict("arrivals of it that no repeat brings in", sum(flood.figures["never taken"].values), 0),
        Verdict("deliveries not answered 2xx after the flood", sum(after.figures["not 2xx"].values), 0),
    ]


ROW = Row(
    name="receiver",
    what="verified webhooks a second on one core, and at five times that: nothing lost, no 5xx but 503",
    run=run,
    judge=judge,
)


# -- the programs


@dataclass(frozen=True, slots=True)
class _Site:
    """A receiver that listens, and the Redis that it writes to."""

    port: int
    pid: int
    keys: LiveKitKeys
    redis_url: str

    def cpu_s(self) -> float:
        """What the receiver has used of its core so far."""
        return Stat.of(self.pid).cpu_s

    def deliveries(self, calls: Sequence[Call]) -> list[Delivery]:
        return signed(calls, self.keys, path=WEBHOOK_PATH, now_unix_s=int(time.time()))


@contextlib.asynccontextmanager
async def _receiving(run_dir: Path) -> AsyncIterator[_Site]:
    """A receiver alone on its core; Valkey and the load, which is this process, keep off it until the block ends."""
    keys = LiveKitKeys()
    with a_core_apart() as its_core:
        async with Valkey(run_dir / "valkey") as valkey, Processes(run_dir / "logs") as processes:
            with on_core(its_core):
                argv = [sys.executable, "-m", "pool.commands", "webhook", "--port", "0", "--ops-port", "0"]
                env = {
                    "REDIS_URL": valkey.url,
                    "LIVEKIT_API_KEY": keys.api_key,
                    "LIVEKIT_API_SECRET": keys.api_secret,
                }
                receiver = await processes.start("webhook", argv, env=env)
            ready = await receiver.wait_event("webhook_ready", timeout_s=LIMIT_S)
            port = urlsplit(str(ready.facts["url"])).port
            assert port is not None
            yield _Site(port, receiver.pid, keys, valkey.url)


# -- what is measured


@dataclass(slots=True)
class _Tally:
    """What the rounds came to, by case and by figure."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    def add(self, case: str, values: Mapping[str, float]) -> None:
        """One round's figures."""
        for name, value in values.items():
            self.values.setdefault(case, {}).setdefault(name, []).append(value)

    def measured(self) -> list[Measured]:
        return [
            Measured(
                subject=SUBJECT,
                case=case,
                figures={name: Figure(_unit(name), tuple(values)) for name, values in figures.items()},
                lost=self.lost.get(case, 0),
                processes=1,
                notes=self.notes.get(case, ()),
            )
            for case, figures in self.values.items()
        ]


def _unit(figure: str) -> str:
    if figure in ("answered", "offered", "sent"):
        return "/s"
    return "ms" if figure.startswith(("latency", "CPU")) else "deliveries"


async def _measure(site: _Site, tally: _Tally, bench: Bench) -> None:
    """One round: closed loops for the rate, then the flood, then whether all is as before."""
    mixed = await asyncio.to_thread(site.deliveries, _calls(MIXED_CALLS, ends=lambda _: True))
    calm = await _closed(site, mixed, MIXED, tally)
    bench.tell(f"receiver: {calm.served_per_s:.0f} a second, {calm.counts()}")

    joins = await asyncio.to_thread(site.deliveries, _calls(JOINS_ALONE, ends=lambda _: False))
    joins = [one for one in joins if _is_arrival(one)]
    alone = await _closed(site, joins, JOINS, tally)
    tally.lost[JOINS] = tally.lost.get(JOINS, 0) + await _lost(site, joins, alone.answers)
    bench.tell(f"receiver, joins alone: {alone.served_per_s:.0f} a second, {alone.counts()}")

    await _flood(site, FLOOD_TIMES * calm.served_per_s, tally, bench)

    after = await asyncio.to_thread(site.deliveries, _calls(AFTER_CALLS, ends=lambda _: True))
    calmed = await _closed(site, after, AFTER, tally)
    bench.tell(f"receiver, after it: {calmed.served_per_s:.0f} a second, {calmed.counts()}")


async def _closed(site: _Site, deliveries: Sequence[Delivery], case: str, tally: _Tally) -> Round:
    cpu_before_s = site.cpu_s()
    done = await in_turn(site.port, [one.request for one in deliveries], connections=CONNECTIONS, limit_s=LIMIT_S)
    cpu_ms = (site.cpu_s() - cpu_before_s) * 1000 / len(deliveries)
    not_taken = sum(not _is_taken(answer) for answer in done.answers)
    tally.add(
        case,
        {"answered": done.served_per_s, "CPU a delivery": cpu_ms, "not 2xx": not_taken} | _latency_ms(done.answers),
    )
    return done


async def _flood(site: _Site, per_s: float, tally: _Tally, bench: Bench) -> None:
    """Calls at a pace that the receiver cannot keep: of every other one all, of the rest the beginning.

    Arrivals that were not taken are delivered again when it is over, as LiveKit does.
    """
    calls = _calls(int(per_s * FLOOD_S / 7), ends=lambda number: number % 2 == 0)  # seven deliveries on the average
    deliveries = await asyncio.to_thread(site.deliveries, calls)
    requests = [one.request for one in deliveries]
    done = await at_pace(
        site.port, requests, per_s=per_s, connections=_flood_connections(), answer_limit_s=ANSWER_LIMIT_S
    )
    lost = await _lost(site, deliveries, done.answers)
    pairs = zip(deliveries, done.answers, strict=True)
    again = [one for one, answer in pairs if _is_arrival(one) and not _is_taken(answer)]
    never_taken, lost_later = await _repeat(site, again)
    lost += lost_later
    tally.lost[FLOOD] = tally.lost.get(FLOOD, 0) + lost
    statuses = [answer.status for answer in done.answers]
    tally.add(
        FLOOD,
        {
            "offered": len(requests) / done.took_s,
            "sent": done.sent_per_s,
            "taken": sum(map(_is_taken, done.answers)),
            "answered 503": statuses.count(503),
            "other 5xx": sum(status >= 500 and status != 503 for status in statuses),
            "arrivals repeated": len(again),
            "never taken": never_taken,
        }
        | _latency_ms(done.answers),
    )
    tally.notes.setdefault(FLOOD, []).append(", ".join(f"{number} {name}" for name, number in done.counts().items()))
    bench.tell(f"receiver, {per_s:.0f} a second offered: {done.counts()}, {lost} lost; {len(again)} arrivals repeated")


async def _repeat(site: _Site, arrivals: Sequence[Delivery]) -> tuple[int, int]:
    """Deliver them again, as often as LiveKit would; how many were never taken, and how many were taken and lost."""
    lost = 0
    for _ in range(LIVEKIT_REPEATS):
        if not arrivals:
            break
        requests = [one.request for one in arrivals]
        done = await in_turn(site.port, requests, connections=CONNECTIONS, limit_s=LIMIT_S)
        lost += await _lost(site, arrivals, done.answers)
        arrivals = [one for one, answer in zip(arrivals, done.answers, strict=True) if not _is_taken(answer)]
    return len(arrivals), lost


async def _lost(site: _Site, deliveries: Sequence[Delivery], answers: Sequence[Answer]) -> int:
    """Deliveries that were answered as accepted and are not in room state.

    Arrivals of calls that go on, and ends of calls that do not. What was refused, or not answered, LiveKit repeats.
    """
    taken = [one for one, answer in zip(deliveries, answers, strict=True) if _is_taken(answer)]
    ended = [one.call for one in taken if one.event == "room_finished"]
    arrived = [one.call for one in taken if _is_arrival(one) and not one.call.ends]
    redis = lease_redis(site.redis_url)
    rooms, lost = Rooms(redis), 0
    try:
        for calls, is_kept in ((arrived, _is_there), (ended, _is_over)):
            for start in range(0, len(calls), _LOOKS_AT_ONCE):
                some = calls[start : start + _LOOKS_AT_ONCE]
                async with asyncio.TaskGroup() as group:
                    looks = [group.create_task(is_kept(rooms, call), name=f"look at {call.name}") for call in some]
                lost += sum(not look.result() for look in looks)
    finally:
        await redis.aclose()
    return lost


async def _is_there(rooms: Rooms, call: Call) -> bool:
    state = await rooms.look(call.name)
    return state is not None and call.caller_sid in state.callers


async def _is_over(rooms: Rooms, call: Call) -> bool:
    """Whether the caller's arrival, told once more, comes too late. Its first one may have come after the end."""
    arrived = Arrived(call.name, call.sid, call.began_unix_ms, call.caller_sid, call.began_unix_ms)
    return await rooms.note(arrived) is Noted.FINISHED


def _calls(number: int, *, ends: Callable[[int], bool]) -> list[Call]:
    """So many calls in rooms that nobody had before."""
    word, now_unix_ms = secrets.token_hex(4), int(time.time() * 1000)
    return [Call(f"{word}-{index}", ends=ends(index), began_unix_ms=now_unix_ms) for index in range(number)]


def _flood_connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return FLOOD_CONNECTIONS if soft == resource.RLIM_INFINITY else min(FLOOD_CONNECTIONS, soft - FILES_KEPT)


def _is_taken(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _is_arrival(delivery: Delivery) -> bool:
    return delivery.event == "participant_joined" and delivery.is_of_caller


def _latency_ms(answers: Sequence[Answer]) -> dict[str, float]:
    took_s = [answer.took_s for answer in answers if answer.status > 0]
    return {"latency p50": percentile(took_s, 0.5) * 1000, "latency p99": percentile(took_s, 0.99) * 1000}
