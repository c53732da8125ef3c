"""One carrier as a process of its own: run, quiet, stop. `pool.carrier_main` starts it, its parent watches it.

The core loops (renewals, sweep, queue) are children of one group: when one of them ends unexpectedly, the process ends,
its parent frees its rooms, and others take over. A carrier that is half alive is worse than none.
"""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, assert_never

import structlog
from redis.exceptions import RedisError

from bridge import warm_up
from pool import metrics
from pool.base.errors import SettingsInvalid
from pool.base.loops import loop_factory
from pool.base.redis_fit import Fitness
from pool.carrier import Carrier
from pool.carrier_health import FULL
from pool.carrier_protocol import (
    EXIT_FAILED,
    EXIT_FORCED,
    EXIT_SETTINGS,
    CarrierArgs,
    Order,
    Orders,
    ParentSettings,
    Refusal,
    Report,
    encode,
    write_or_drop,
)
from pool.contract import RoomRules
from pool.drain import JOINING_LIMIT_S, LEAVE_S, Drain, Phase
from pool.journal import DecisionLog
from pool.reconcile import Reconciler
from pool.registry import CarrierRecord, Carriers, Rooms
from pool.registry.connect import lease_redis
from pool.room_control import LiveKitRooms
from pool.settings import PoolSettings
from pool.sweep import sweep_forever
from pool.wake import WakeOptions, WakeWorker, run_wake_workers

log = structlog.get_logger()

BEAT_S = 2.0
"""How often a carrier says that it lives; `roompool ps` shows the age. The answer is whether somebody wants it gone."""

REPORT_S = 1.0
"""How often it says so to its parent, and at once when that matters."""

RECONCILE_S = 5.0
"""A caller whose webhook was lost waits at most this, and the time a list takes."""

STORY_LIMIT_S = 1.0
"""For the last entries of `roompool why` when a carrier stops."""

STOP_LIMIT_S = 10.0
"""For everything that is left to do when the last call is out; then the process leaves, whatever is stuck in it."""

REDIS_SILENCE_S = 5.0
"""After so long without an answer of Redis a carrier says that it is not ready. Its calls go on."""


def run_carrier(settings: PoolSettings, args: CarrierArgs, orders: Orders) -> NoReturn:
    """Run one carrier until it was told to end and is empty, then end the process: 0, or the status that says why.

    Leaving through the interpreter's own shutdown can abort in the SDK's threads (seen).
    """
    structlog.contextvars.bind_contextvars(carrier=args.carrier)
    status = EXIT_FAILED
    try:
        with asyncio.Runner(loop_factory=loop_factory(is_fast=settings.uvloop)) as runner:
            runner.run(CarrierRun(settings, args).run(orders))
        status = 0
    except SettingsInvalid as error:  # found out by asking a server
        write_or_drop(args.reports_fd, encode(Refusal(error.problems)))
        status = EXIT_SETTINGS
    except BaseException as error:
        log.error("carrier_failed", exc_info=error)
    finally:
        sys.stderr.flush()
        os._exit(status)


class CarrierRun:
    """1. Reports to the parent. 2. Holds the carrier and its loops. 3. Drains when it is told, or somebody wants it."""

    def __init__(self, settings: PoolSettings, args: CarrierArgs) -> None:
        self._settings = settings
        self._args = args
        self._started_unix_ms = int(time.time() * 1000)
        self._drain = Drain(grace_s=settings.grace_s, hand_over_after_s=settings.handover_after_s)
        self._draining = asyncio.Event()
        self._told_to_end = asyncio.Event()
        self._hurried = asyncio.Event()
        self._news = asyncio.Event()
        self._forced: asyncio.TimerHandle | None = None

    async def run(self, orders: Orders) -> None:
        """Carry calls until told to end and empty."""
        self._send_settings()
        async with self._parts() as parts:
            await parts.fitness.require()
            await warm_up(self._settings.link_spec())
            loop = asyncio.get_running_loop()
            orders.listen(lambda order: loop.call_soon_threadsafe(self._on_order, order, parts.carrier))
            await self._serve(parts)
            with contextlib.suppress(RedisError, OSError):  # the record ends by itself
                await parts.carriers.gone(self._args.carrier)
        log.info("carrier_stopped")

    @contextlib.asynccontextmanager
    async def _parts(self) -> AsyncIterator["_Parts"]:
        settings = self._settings
        redis = lease_redis(settings.redis_url.get_secret_value())
        secret = settings.livekit_api_secret.get_secret_value()
        try:
            async with LiveKitRooms.open(settings.livekit_url, settings.livekit_api_key, secret) as room_list:
                rooms = Rooms(redis)
                carrier = Carrier(self._args.carrier, rooms, DecisionLog(redis), settings)
                reconciler = Reconciler(
                    redis,
                    rooms,
                    room_list,
                    rules=RoomRules(settings.rooms, settings.agent_identity),
                    carrier_id=self._args.carrier,
                )
                yield _Parts(carrier, rooms, Carriers(redis), reconciler, Fitness(redis))
        finally:
            await redis.aclose()

    async def _serve(self, parts: "_Parts") -> None:
        carrier, stop_queue = parts.carrier, asyncio.Event()
        async with asyncio.TaskGroup() as farewells, asyncio.TaskGroup() as core:
            report = _forever(core, "report", self._report(parts))
            await parts.fitness.until_fit(self._draining)
            loops = [
                report,
                _forever(core, "claim", carrier.claim_forever(core, farewells)),
                _forever(core, "renew", carrier.renew_forever()),
                _forever(core, "tell", carrier.tell_forever()),
                _forever(core, "sweep", sweep_forever(carrier, parts.rooms)),
                _forever(core, "reconcile", self._reconcile(parts.reconciler)),
                _forever(core, "beat", self._beat(carrier, parts.carriers)),
            ]
            queue = core.create_task(
                run_wake_workers(lambda: self._wake_worker(carrier), stop_queue, on_restart=metrics.QUEUE_RESTARTS.inc),
                name="queue",
            )
            await self._draining.wait()
            await self._drain_calls(carrier, parts.carriers, stop_queue)
            await self._told_to_end.wait()
            limit_s = JOINING_LIMIT_S if carrier.in_use else STOP_LIMIT_S
            self._force_at(asyncio.get_running_loop().time() + limit_s)
            await queue
            carrier.abandon_calls()
            await carrier.empty()  # what is still joining keeps its lease until it is out: bounded by the SDK's limits
            await carrier.told(limit_s=STORY_LIMIT_S)
            for loop in loops:
                loop.cancel()

    # --- on the way out ---------------------------------------------------------------

    def _on_order(self, order: Order, carrier: Carrier) -> None:
        match order:
            case Order.LOOK:
                carrier.want_claim()
            case Order.RETIRE:
                if not carrier.in_use:  # else it is asked again when it has none
                    self._end_when_empty()
            case Order.DRAIN:
                self._end_when_empty()
            case Order.HURRY:
                self._end_when_empty()
                self._hurried.set()
            case _:
                assert_never(order)

    def _end_when_empty(self) -> None:
        """Told to end. Told again, nothing changes, the deadlines least of all."""
        self._begin_to_drain()
        if not self._told_to_end.is_set():
            self._told_to_end.set()
            self._news.set()
            self._force_at(max(asyncio.get_running_loop().time(), self._drain.stops_at) + JOINING_LIMIT_S)

    def _begin_to_drain(self) -> None:
        if self._draining.is_set():
            return
        self._drain.ask(asyncio.get_running_loop().time())
        self._draining.set()
        self._news.set()

    async def _drain_calls(self, carrier: Carrier, carriers: Carriers, stop_queue: asyncio.Event) -> None:
        """No new rooms; calls end by themselves up to the grace; the rest leaves and is released for others."""
        loop = asyncio.get_running_loop()
        carrier.quiet()
        stop_queue.set()
        log.info("draining", calls=carrier.in_use, grace_s=self._settings.grace_s)
        with contextlib.suppress(RedisError, OSError):  # `ps` shows it a beat later
            await carriers.beat(self._record(carrier))
        async with asyncio.TaskGroup() as group:
            passing = group.create_task(self._hand_over(carrier), name="hand_over")
            await self._until_empty(carrier, self._drain.grace_ends_at, self._hurried)
            passing.cancel()
        if self._drain.phase(loop.time(), in_use=carrier.in_use) is not Phase.STOPPED:
            log.warning("stopping_calls", calls=carrier.in_use)
            carrier.stop_calls()
            await self._until_empty(carrier, loop.time() + LEAVE_S, asyncio.Event())
        self._news.set()

    async def _hand_over(self, carrier: Carrier) -> None:
        """Task, cancelled when no call is left or the grace is over: pass calls on, once they had time to end."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._drain.hands_over_at):
                await asyncio.Event().wait()
        log.info("handing_over", calls=carrier.in_use, after_s=round(loop.time() - began_at, 1))
        await carrier.hand_over_forever()

    async def _until_empty(self, carrier: Carrier, at: float, hurry: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(at), asyncio.TaskGroup() as group:
                waits = [
                    group.create_task(carrier.empty(), name="empty"),
                    group.create_task(hurry.wait(), name="hurry"),
                ]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()

    def _force_at(self, at: float) -> None:
        """End the process then, unless it has ended by itself: a task deaf to its cancellation would hold it for ever.

        The timer is never stopped: whatever runs after us, such as the end of the loop, may hang as well.
        """
        if self._forced is not None:
            self._forced.cancel()
        self._forced = asyncio.get_running_loop().call_at(at, self._force)

    def _force(self) -> None:
        tasks = sorted(task.get_name() for task in asyncio.all_tasks())
        log.error("stop_forced", tasks=tasks[:20], cure="please report this line: a bug of roompool")
        sys.stderr.flush()
        os._exit(EXIT_FORCED)  # every call has been asked to leave; the parent frees what is left

    # --- loops ------------------------------------------------------------------------

    def _wake_worker(self, carrier: Carrier) -> WakeWorker:
        options = WakeOptions(
            carrier=carrier,
            carrier_id=self._args.carrier,
            has_room=carrier.has_room,
            room_made=carrier.room_made,
            on_set_aside=lambda reason: metrics.JOBS_SET_ASIDE.labels(reason.value).inc(),
        )
        return WakeWorker.connect(self._settings.redis_url.get_secret_value(), options)

    async def _reconcile(self, reconciler: Reconciler) -> None:
        while True:
            outcome = await reconciler.reconcile_once()
            metrics.RECONCILES.labels(outcome.value).inc()
            await asyncio.sleep(RECONCILE_S)

    async def _beat(self, carrier: Carrier, carriers: Carriers) -> None:
        """Task. Whoever is wanted out stays up and idle, and says so: an orchestrator would only start it again."""
        while True:
            try:
                if await carriers.beat(self._record(carrier)) and not self._drain.is_asked:
                    log.info("wanted_out")
                    self._begin_to_drain()
            except (RedisError, OSError) as error:
                log.debug("beat_failed", error=type(error).__name__)
            await asyncio.sleep(BEAT_S)

    async def _report(self, parts: "_Parts") -> None:
        """Task. A parent that does not read misses reports, and nothing else."""
        while True:
            self._news.clear()
            report = self._how_it_is(parts.carrier, trouble=parts.fitness.trouble)
            metrics.IN_USE.set(report.in_use)
            write_or_drop(self._args.reports_fd, encode(report))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_S):
                    await self._news.wait()

    # --- what it says of itself -------------------------------------------------------

    def _send_settings(self) -> None:
        settings = ParentSettings(
            redis_url=self._settings.redis_url.get_secret_value(),
            capacity=self._settings.capacity,
            grace_s=self._settings.grace_s,
            recycle_calls=self._settings.recycle_calls,
            recycle_rss_bytes=self._settings.recycle_rss_mb << 20,
        )
        write_or_drop(self._args.reports_fd, encode(settings))

    def _how_it_is(self, carrier: Carrier, *, trouble: str | None) -> Report:
        is_ready, reason = self._readiness(carrier, trouble)
        return Report(
            is_ready=is_ready,
            reason=reason,
            in_use=carrier.in_use,
            is_draining=self._drain.is_asked,
            is_ending=self._told_to_end.is_set(),
            calls_carried=carrier.calls_carried,
            rss_bytes=resident_bytes(),
        )

    def _readiness(self, carrier: Carrier, trouble: str | None) -> tuple[bool, str]:
        if self._drain.is_asked:
            return False, "draining" if carrier.in_use else "drained"
        if trouble:
            return False, trouble
        if carrier.answered_ago_s > REDIS_SILENCE_S:
            return False, "redis does not answer"
        return True, "taking calls" if carrier.has_room() else FULL

    def _record(self, carrier: Carrier) -> CarrierRecord:
        return CarrierRecord(
            id=self._args.carrier,
            worker=self._args.worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            revision=self._settings.revision,
            capacity=self._settings.capacity,
            in_use=carrier.in_use,
            draining=self._drain.is_asked,
            started_unix_ms=self._started_unix_ms,
            worker_started_unix_ms=self._args.worker_started_unix_ms,
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a carrier consists of."""

    carrier: Carrier
    rooms: Rooms
    carriers: Carriers
    reconciler: Reconciler
    fitness: Fitness


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """How much memory this process occupies, shared pages included; 0 where nobody says."""
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _forever(group: asyncio.TaskGroup, name: str, loop: Coroutine[object, object, None]) -> asyncio.Task[None]:
    """A loop that has no end of its own: should it return, that is a bug, and the group ends with it."""

    async def watched() -> None:
        await loop
        raise RuntimeError(f"{name} ended")

    return group.create_task(watched(), name=name)
