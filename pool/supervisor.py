"""The parent of a worker's carriers: starts them, watches them, passes the word on, frees what a dead one held.

It loads neither LiveKit's SDK nor arq and reads no settings: what it must know of them its carriers tell it. Calls
never pass through it; while it stands still nothing happens to them, and when it ends its carriers end with it.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry

from pool import cpus
from pool.base.errors import SettingsInvalid
from pool.base.ops import always_live, serve_ops
from pool.carrier_health import Seen, State, is_stuck, readiness, state_of, to_recycle
from pool.carrier_protocol import EXIT_PANIC, EXIT_SETTINGS, CarrierArgs, Order
from pool.child import LAST_WORDS_S, Child, environment_of_carriers, unix_ms
from pool.drain import JOINING_LIMIT_S, LEAVE_S
from pool.reaper import Reaper
from pool.restarts import Restarts
from pool.series import CarrierSeries, ParentSeries, series_folder

log = structlog.get_logger()

LAST_REAPS_S = 2.0
"""For freeing the rooms of carriers that died while the worker ended."""

LOOK_S = 1.0
"""How often the parent looks at its carriers when none of them says anything."""

STUCK_LOOKS = 3
"""So many looks in a row must find a carrier stuck before it is ended: a parent that itself stood still looks before it
has read what was said meanwhile."""

SPARE_S = 0.9
"""What a carrier's own limits get on top before the parent ends it."""

PANIC_CURE = "the SDK's own line above (FFI Panic) says what it met: update livekit, or report it there"
START_CURE = "see to it that the machine has memory, and processes and file descriptors left for this user"
LOOP_CURE = "see what the carriers said above; then roompool why ROOM if a room was named, or the last change of set-up"
DEATH_CURE = "what it held is free again; its own lines above say more, and nothing at all when it was killed"
KILL_CURE = "please report this line: a bug of roompool"


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """How many carriers, None for one a CPU; and where probes are answered, port 0 being a free one."""

    processes: int | None = None
    ops_host: str = "127.0.0.1"
    ops_port: int = 0


class CrashLoop(Exception):
    """Carriers die as fast as they are started."""


def run_supervisor(options: SupervisorOptions) -> int:
    """Run a worker until it was told to end and its calls are over; the status to exit with: 0, 1 after a crash loop.

    Raises:
        SettingsInvalid: whoever configured this worker is at fault.
    """
    processes = options.processes or cpus.default_carriers(affinity=cpus.affinity(), quota=cpus.quota())
    try:
        asyncio.run(_run(options, processes))
    except BaseExceptionGroup as several:
        refused, others = several.split(SettingsInvalid)
        if others is not None and others.split(CrashLoop)[1] is not None:
            raise
        if refused is not None:
            raise _first_of(refused) from None
        return 1
    return 0


async def _run(options: SupervisorOptions, processes: int) -> None:
    await Supervisor(options, processes).run()


class Supervisor:
    """1. Answers probes. 2. Keeps a carrier in every slot. 3. Ends when told, after its carriers."""

    def __init__(self, options: SupervisorOptions, processes: int) -> None:
        self._options = options
        self._processes = processes
        # Letters, because long runs of digits are masked in logs, and an id must read alike everywhere.
        nonce = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
        self._id = f"{socket.gethostname()[:40]}-{nonce}"
        self._started_unix_ms = unix_ms()
        self._started_count = 0
        self._loop = asyncio.get_running_loop()
        self._children: dict[int, Child] = {}
        self._restarts = Restarts()
        self._reaper = Reaper()
        self._heard = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_hurried = False
        self._was_ready = False
        self._reaps: set[asyncio.Task[None]] = set()
        self._kill: asyncio.TimerHandle | None = None
        self._registry = CollectorRegistry()
        self._own = ParentSeries(self._registry)

    async def run(self) -> None:
        """Keep carriers until told to end and they have.

        Raises:
            BaseExceptionGroup: of `SettingsInvalid` or `CrashLoop`; no carrier is left.
            SettingsInvalid: there is no port, or no place for temporary files.
        """
        with series_folder() as folder:
            self._series = CarrierSeries(folder)
            self._registry.register(self._series)
            options = self._options
            ops = serve_ops(
                live=always_live,
                ready=self._readiness,
                host=options.ops_host,
                port=options.ops_port,
                registry=self._registry,
            )
            async with ops as port:
                self._ops_url = f"http://{options.ops_host}:{port}"
                with _signals(self._on_signal):
                    await self._keep_all(environment_of_carriers(folder))
        log.info("worker_stopped", worker=self._id)

    # --- keeping carriers ---------------------------------------------------------------

    async def _keep_all(self, env: Mapping[str, str]) -> None:
        async with asyncio.TaskGroup() as group:
            chores = [
                group.create_task(self._look_forever(), name="look"),
                group.create_task(self._reaper.keep_warm(), name="keep_warm"),
            ]
            async with asyncio.TaskGroup() as slots:
                for slot in range(self._processes):
                    slots.create_task(self._keep(slot, env, group), name=f"slot_{slot}")
            if self._kill is not None:
                self._kill.cancel()
            if self._reaps:
                await asyncio.wait(self._reaps, timeout=LAST_REAPS_S)
            for task in [*chores, *self._reaps]:
                task.cancel()

    async def _keep(self, slot: int, env: Mapping[str, str], group: asyncio.TaskGroup) -> None:
        """Task, one a slot: a carrier, and when it has ended the next."""
        while not self._stopping.is_set():
            started_at = self._loop.time()
            try:
                child = await Child.start(self._next_args(), slot, env=env)
            except OSError as error:  # the others carry on
                log.error("carrier_not_started", worker=self._id, error=error.strerror, cure=START_CURE)
                wait_s = self._wait_s(slot, started_at)
            else:
                self._children[slot] = child
                try:
                    status = await self._until_ended(child, group)
                finally:
                    del self._children[slot]
                wait_s = self._what_now(child, status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stopping.wait()

    async def _until_ended(self, child: Child, group: asyncio.TaskGroup) -> int:
        """Hear what it says until it is gone, and have its rooms freed unless it left in order.

        That comes first: to start the next one holds this process up for some milliseconds.
        """
        async with asyncio.TaskGroup() as listening:
            reading = listening.create_task(child.read(self._heard), name=f"hear {child.id}")
            try:
                status = await child.ended()
            except asyncio.CancelledError:
                child.kill()
                await child.ended()
                raise
            if status not in (0, EXIT_SETTINGS):  # with either it holds nothing
                died_at = self._loop.time()
                reap = group.create_task(self._reap(child.id, died_at), name=f"reap {child.id}")
                self._reaps.add(reap)
                reap.add_done_callback(self._reaps.discard)
            await asyncio.wait([reading, *self._reaps], timeout=LAST_WORDS_S)
            reading.cancel()
        self._series.mark_dead(child.pid)
        return status

    def _what_now(self, child: Child, status: int) -> float:
        """Say what a carrier ended of, and how long to wait before the next is started in its place.

        Raises:
            SettingsInvalid: it was refused by the settings, as every other one would be.
            CrashLoop: it is no use.
        """
        if child.refusal is not None and not self._was_ready:
            raise SettingsInvalid(child.refusal.problems)
        self._say_how_it_ended(child, status)
        if self._stopping.is_set():
            return 0.0
        if status == 0 and child.retiring_at is not None:
            self._own.recycles.inc()
            return 0.0
        return self._wait_s(child.slot, child.started_at)

    def _wait_s(self, slot: int, started_at: float) -> float:
        now = self._loop.time()
        self._own.restarts.inc()
        wait_s = self._restarts.wait_s(slot, now, lived_s=now - started_at)
        if self._restarts.is_loop(now, any_ready=any(other.is_ready for other in self._children.values())):
            log.error("crash_loop", worker=self._id, cure=LOOP_CURE)
            raise CrashLoop
        return wait_s

    def _say_how_it_ended(self, child: Child, status: int) -> None:
        lived_s = self._loop.time() - child.started_at
        facts = {"worker": self._id, "carrier": child.id, "status": status, "lived_s": round(lived_s, 1)}
        if status == EXIT_PANIC:
            self._own.panics.inc()
            log.error("sdk_panic", cure=PANIC_CURE, **facts)
        elif status != 0:
            why = {"problems": child.refusal.problems} if child.refusal else {}
            log.error("carrier_died", cure=DEATH_CURE, **facts, **why)

    async def _reap(self, carrier: str, died_at: float) -> None:
        """Task: free what a dead carrier held, and have the others look for it."""
        rooms = await self._reaper.reap(carrier)
        if rooms is None:
            self._own.reaps.labels("unreachable").inc()
            log.warning(
                "carrier_not_reaped", carrier=carrier, cure="none is needed: its leases have ended by themselves"
            )
            return
        self._own.reaps.labels("freed").inc()
        took_ms = round((self._loop.time() - died_at) * 1000, 1)
        log.info("carrier_reaped", worker=self._id, carrier=carrier, rooms=len(rooms), took_ms=took_ms)
        others = [child for child in self._children.values() if child.is_ready]
        for number in range(len(rooms) if others else 0):
            others[number % len(others)].order(Order.LOOK)

    # --- looking at them ------------------------------------------------------------------

    async def _look_forever(self) -> None:
        """Task: after each message of a carrier, and now and then without one."""
        while True:
            self._heard.clear()
            self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._heard.wait()

    def _look(self) -> None:
        children = list(self._children.values())
        carriers = self._seen()
        for child, seen in zip(children, carriers, strict=True):
            if child.settings is not None and not child.is_introduced:
                child.is_introduced = True
                self._reaper.learn(child.settings.redis_url)
                log.info("carrier_started", worker=self._id, carrier=child.id, pid=child.pid)
            self._end_if_stuck(child, seen)
        states = [state_of(seen) for seen in carriers]
        for state in State:
            self._own.carriers.labels(state.value).set(states.count(state))
        self._own.resident_bytes.set(sum(child.report.rss_bytes for child in children if child.report))
        if self._stopping.is_set():
            self._pass_on()
        elif len(children) == self._processes:
            self._say_ready(children, states)
            self._recycle(children, carriers)

    def _seen(self) -> list[Seen]:
        now = self._loop.time()
        return [
            Seen(
                child.report,
                silent_s=now - (child.reported_at or child.started_at),
                retiring_for_s=None if child.retiring_at is None else now - child.retiring_at,
            )
            for child in self._children.values()
        ]

    def _end_if_stuck(self, child: Child, seen: Seen) -> None:
        child.stuck_looks = child.stuck_looks + 1 if is_stuck(seen) else 0
        if child.stuck_looks >= STUCK_LOOKS:
            log.error("carrier_stuck", worker=self._id, carrier=child.id, silent_s=round(seen.silent_s), cure=KILL_CURE)
            child.kill()

    def _say_ready(self, children: list[Child], states: list[State]) -> None:
        if self._was_ready or any(state is not State.READY for state in states):
            return
        self._was_ready = True
        ids = [child.id for child in children]
        (settings, *_) = (child.settings for child in children)
        log.info(
            "worker_ready",
            worker=self._id,
            carriers=ids,
            **({"carrier": ids[0]} if len(ids) == 1 else {}),
            processes=self._processes,
            capacity=settings.capacity if settings else None,
            ops_url=self._ops_url,
        )

    def _recycle(self, children: list[Child], carriers: list[Seen]) -> None:
        settings = children[0].settings
        spent = None if settings is None else to_recycle(carriers, settings)
        if spent is not None:
            child = children[spent]
            child.retiring_at = self._loop.time()
            child.order(Order.RETIRE)
            report = child.report
            assert report is not None
            log.info(
                "carrier_retiring",
                worker=self._id,
                carrier=child.id,
                calls_carried=report.calls_carried,
                rss_mb=report.rss_bytes >> 20,
            )

    def _readiness(self) -> tuple[bool, str]:
        return readiness(self._seen(), processes=self._processes, is_stopping=self._stopping.is_set())

    # --- ending ------------------------------------------------------------------------------

    def _on_signal(self) -> None:
        """The first asks to drain, the second not to wait for calls to end."""
        if self._stopping.is_set():
            self._is_hurried = True
        else:
            self._stopping.set()
            log.info("worker_draining", worker=self._id, carriers=len(self._children))
        graces_s = [child.settings.grace_s for child in self._children.values() if child.settings]
        grace_s = 0.0 if self._is_hurried else max(graces_s, default=0.0)
        self._kill_at(self._loop.time() + grace_s + LEAVE_S + JOINING_LIMIT_S + SPARE_S)
        self._pass_on()

    def _pass_on(self) -> None:
        """Repeat the order until it is followed: a carrier that is just starting, or stands still, hears it later."""
        for child in self._children.values():
            if self._is_hurried:
                child.order(Order.HURRY)
            elif not (child.report and child.report.is_ending):
                child.order(Order.DRAIN)

    def _kill_at(self, at: float) -> None:
        if self._kill is not None:
            at = min(at, self._kill.when())
            self._kill.cancel()
        self._kill = self._loop.call_at(at, self._kill_all)

    def _kill_all(self) -> None:
        for child in self._children.values():
            log.error("carrier_killed", worker=self._id, carrier=child.id, cure=KILL_CURE)
            child.kill()

    def _next_args(self) -> CarrierArgs:
        self._started_count += 1
        return CarrierArgs(
            carrier=f"{self._id}-{self._started_count}",
            worker=self._id,
            worker_started_unix_ms=self._started_unix_ms,
            parent_pid=os.getpid(),
        )


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


def _first_of(group: BaseExceptionGroup[SettingsInvalid]) -> SettingsInvalid:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
