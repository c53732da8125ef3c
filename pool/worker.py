"""One carrier as a process: run, quiet, stop. What `roompool worker` does.

The core loops (renewals, sweep, queue) are children of one group: when one of them ends unexpectedly, the process ends,
its leases run out, and others take over. A worker that is half alive is worse than none.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import string
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import NoReturn

import structlog
from redis.exceptions import RedisError

from pool import metrics
from pool.base.errors import SettingsInvalid
from pool.base.ops import always_live, serve_ops
from pool.carrier import Carrier
from pool.contract import RoomRules
from pool.drain import LEAVE_S, Drain, Phase
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
"""How often a carrier says that it lives; `roompool ps` shows the age."""

RECONCILE_S = 5.0
"""A caller whose webhook was lost waits at most this, and the time a list takes."""

STORY_LIMIT_S = 1.0
"""For the last entries of `roompool why` when a worker stops."""

STOP_LIMIT_S = 10.0
"""For everything that is left to do when the last call is out; then the process leaves, whatever is stuck in it."""

JOINING_LIMIT_S = 24.0
"""The same while calls are still on their way into a room, as long as the SDK may take for that (25 s from when it
began). Together with `LEAVE_S` it stays within the 30 s that an orchestrator waits after the grace."""

REDIS_SILENCE_S = 5.0
"""After so long without an answer of Redis a worker says that it is not ready. Its calls go on."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Where this worker answers probes; port 0 is a free one."""

    ops_host: str = "127.0.0.1"
    ops_port: int = 0
    stop_limit_s: float = STOP_LIMIT_S


def run_worker(settings: PoolSettings, options: WorkerOptions) -> None:
    """Run one carrier until SIGTERM or SIGINT has drained it, then end the process: 0, or 1 after a bug."""
    try:
        asyncio.run(Worker(settings, options).run())
    except SettingsInvalid:
        raise  # a port that cannot be had is the operator's to mend, and said in words
    except BaseException as error:
        log.error("worker_failed", exc_info=error)
        _leave(1)
    _leave(0)


def _leave(status: int) -> NoReturn:
    """End the process now: leaving through the interpreter's own shutdown can abort in the SDK's threads (seen)."""
    sys.stderr.flush()
    os._exit(status)


class Worker:
    """1. Serves probes. 2. Holds the carrier and its loops. 3. Drains on a signal."""

    def __init__(self, settings: PoolSettings, options: WorkerOptions) -> None:
        self._settings = settings
        self._options = options
        # Letters, because long runs of digits are masked in logs, and an id must read alike everywhere.
        nonce = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
        self._id = f"{socket.gethostname()[:40]}-{os.getpid()}-{nonce}"
        self._started_unix_ms = int(time.time() * 1000)
        self._drain = Drain(grace_s=settings.grace_s)
        self._signalled = asyncio.Event()
        self._hurried = asyncio.Event()
        self._forced: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Carry calls until asked to stop and empty."""
        async with self._parts() as (carrier, rooms, carriers, reconciler):
            ready = _ready(carrier, self._drain)
            async with serve_ops(
                live=always_live, ready=ready, host=self._options.ops_host, port=self._options.ops_port
            ) as port:
                with _signals(self._on_signal):
                    log.info(
                        "worker_ready",
                        carrier=self._id,
                        capacity=self._settings.capacity,
                        ops_url=f"http://{self._options.ops_host}:{port}",
                    )
                    await self._serve(carrier, rooms, carriers, reconciler)
            with contextlib.suppress(RedisError, OSError):  # the record ends by itself
                await carriers.gone(self._id)
        log.info("worker_stopped", carrier=self._id)

    @contextlib.asynccontextmanager
    async def _parts(self) -> AsyncIterator[tuple[Carrier, Rooms, Carriers, Reconciler]]:
        settings = self._settings
        redis = lease_redis(settings.redis_url.get_secret_value())
        secret = settings.livekit_api_secret.get_secret_value()
        try:
            async with LiveKitRooms.open(settings.livekit_url, settings.livekit_api_key, secret) as room_list:
                rooms = Rooms(redis)
                carrier = Carrier(self._id, rooms, DecisionLog(redis), settings)
                reconciler = Reconciler(
                    redis,
                    rooms,
                    room_list,
                    rules=RoomRules(settings.rooms, settings.agent_identity),
                    carrier_id=self._id,
                )
                yield carrier, rooms, Carriers(redis), reconciler
        finally:
            await redis.aclose()

    async def _serve(self, carrier: Carrier, rooms: Rooms, carriers: Carriers, reconciler: Reconciler) -> None:
        stop_queue = asyncio.Event()
        async with asyncio.TaskGroup() as farewells, asyncio.TaskGroup() as core:
            loops = [
                _forever(core, "claim", carrier.claim_forever(core, farewells)),
                _forever(core, "renew", carrier.renew_forever()),
                _forever(core, "tell", carrier.tell_forever()),
                _forever(core, "sweep", sweep_forever(carrier, rooms)),
                _forever(core, "reconcile", self._reconcile(reconciler)),
                _forever(core, "beat", self._beat(carrier, carriers)),
            ]
            queue = core.create_task(
                run_wake_workers(lambda: self._wake_worker(carrier), stop_queue, on_restart=metrics.QUEUE_RESTARTS.inc),
                name="queue",
            )
            await self._signalled.wait()
            await self._drain_calls(carrier, carriers, stop_queue)
            limit_s = JOINING_LIMIT_S if carrier.in_use else self._options.stop_limit_s
            self._force_at(asyncio.get_running_loop().time() + limit_s)
            await queue
            carrier.abandon_calls()
            await carrier.empty()  # what is still joining keeps its lease until it is out: bounded by the SDK's limits
            await carrier.told(limit_s=STORY_LIMIT_S)
            for loop in loops:
                loop.cancel()

    async def _drain_calls(self, carrier: Carrier, carriers: Carriers, stop_queue: asyncio.Event) -> None:
        """No new rooms; calls end by themselves up to the grace; the rest leaves and is released for others."""
        loop = asyncio.get_running_loop()
        self._drain.ask(loop.time())
        self._force_at(self._drain.stops_at + JOINING_LIMIT_S)
        carrier.quiet()
        stop_queue.set()
        log.info("draining", calls=carrier.in_use, grace_s=self._settings.grace_s)
        with contextlib.suppress(RedisError, OSError):  # `ps` shows it a beat later
            await carriers.beat(self._record(carrier))
        await self._until_empty(carrier, self._drain.grace_ends_at, self._hurried)
        if self._drain.phase(loop.time(), in_use=carrier.in_use) is not Phase.STOPPED:
            log.warning("stopping_calls", calls=carrier.in_use)
            carrier.stop_calls()
            await self._until_empty(carrier, loop.time() + LEAVE_S, asyncio.Event())

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
        log.error("stop_forced", carrier=self._id, tasks=tasks[:20], cure="please report this line: a bug of roompool")
        _leave(0)  # every call has been asked to leave, and whatever lease is left ends by itself

    def _on_signal(self) -> None:
        """The first asks to drain, the second not to wait for calls to end."""
        if self._signalled.is_set():
            self._hurried.set()
        self._signalled.set()

    def _wake_worker(self, carrier: Carrier) -> WakeWorker:
        options = WakeOptions(
            carrier=carrier,
            carrier_id=self._id,
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
        while True:
            try:
                await carriers.beat(self._record(carrier))
            except (RedisError, OSError) as error:
                log.debug("beat_failed", error=type(error).__name__)
            await asyncio.sleep(BEAT_S)

    def _record(self, carrier: Carrier) -> CarrierRecord:
        return CarrierRecord(
            id=self._id,
            worker=self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            revision=self._settings.revision,
            capacity=self._settings.capacity,
            in_use=carrier.in_use,
            draining=self._drain.is_asked,
            started_unix_ms=self._started_unix_ms,
        )


def _forever(group: asyncio.TaskGroup, name: str, loop: Coroutine[object, object, None]) -> asyncio.Task[None]:
    """A loop that has no end of its own: should it return, that is a bug, and the group ends with it."""

    async def watched() -> None:
        await loop
        raise RuntimeError(f"{name} ended")

    return group.create_task(watched(), name=name)


def _ready(carrier: Carrier, drain: Drain) -> Callable[[], tuple[bool, str]]:
    def ready() -> tuple[bool, str]:
        if drain.is_asked:
            return False, "draining"
        if carrier.answered_ago_s > REDIS_SILENCE_S:
            return False, "redis does not answer"
        return True, "taking calls" if carrier.has_room() else "full"

    return ready


@contextlib.contextmanager
def _signals(call: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, call)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
