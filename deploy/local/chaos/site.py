"""A running deployment to be hurt, and what can be asked of it: who holds a room, in which process, and since when."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.caller.caller import Caller
from deploy.local.chaos.partition import IsolatedNetwork
from deploy.local.chaos.tcp_proxy import TcpProxy
from deploy.local.chaos.webhook_proxy import DeliveryFault, WebhookProxy
from deploy.local.proc_stat import Stat, parent_of
from deploy.local.processes import Child
from deploy.local.sentinel import SentinelSet
from deploy.local.stack import Stack
from deploy.local.valkey import Valkey
from pool.journal import Decision, DecisionLog
from pool.registry import Carriers, CarrierSeen, Rooms, RoomState
from pool.registry.connect import lease_redis

T = TypeVar("T")

LOOK_EVERY_S = 0.05
PATIENCE_S = 45.0
FRESH_BEAT_MS = 6_000
ASK_LIMIT_S = 5.0


class SiteFailed(Exception):
    """The deployment is not as it must be before a trial: no finding about a fault."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a room.

    Attributes:
        carrier: Its id in Redis; `pid` is its process, `worker` the program it belongs to.
    """

    carrier: str
    pid: int
    fence: int
    worker: Child


@dataclass(slots=True)
class IsolatedWorker:
    """A worker in a network of its own, and what it is connected by.

    Attributes:
        redis: The proxy through which alone it reaches Redis.
        worker: The one that lives there; None before the first.
    """

    network: IsolatedNetwork
    redis: TcpProxy
    env: Mapping[str, str]
    worker: Child | None = None


@dataclass(slots=True)
class Site:
    """A stack, and what stands between its parts.

    Attributes:
        wanted: How many workers there are before each trial.
        isolated: Where one of the workers lives in a network of its own.
        sentinels: Where Redis fails over.
    """

    stack: Stack
    webhooks: WebhookProxy
    wanted: int
    isolated: IsolatedWorker | None = None
    sentinels: SentinelSet | None = None

    # -- who takes part

    def caller(self, word: str, *, identity: str = "") -> Caller:
        """A caller of a room that nobody had before."""
        server = self.stack.livekit
        room = f"{word}-{secrets.token_hex(4)}"
        return Caller(server.url, room=room, key=server.api_key, secret=server.api_secret, identity=identity)

    @property
    def workers(self) -> list[Child]:
        """Those that run."""
        return [worker for worker in self.stack.workers if worker.exit_code is None]

    async def fill_up(self) -> None:
        """Workers in place of those that died, each with all of its carriers serving.

        Raises:
            SiteFailed: They do not come to that.
        """
        isolated = self.isolated
        if isolated is not None and (isolated.worker is None or isolated.worker.exit_code is not None):
            isolated.worker = await self.stack.add_worker(env=isolated.env, within=isolated.network.words)
        while len(self.workers) < self.wanted:
            await self.add_worker()
        await self.until(self.carriers_serve, "every worker has all of its carriers serving")

    async def add_worker(self, **env: str) -> Child:
        """One more worker."""
        return await self.stack.add_worker(env=env)

    async def mend(self) -> None:
        """Undo what a fault may have left: wake who sleeps, pass on what is held, join what is cut.

        Raises:
            ServerFailed: Redis does not come up again.
            NoFailover: It does, and the sentinels do not agree on a primary with a replica in step.
        """
        self.webhooks.fault = DeliveryFault.NONE
        if isinstance(self.stack.redis, Valkey):
            self.stack.redis.thaw()
            if not self.stack.redis.is_running:
                await self.stack.redis.revive()
        if self.sentinels is not None:
            await self.sentinels.mend()
        for pid in await self.pids_of(self.workers):
            send(pid, signal.SIGCONT)
        if self.isolated is not None:
            self.isolated.redis.let_go()
            self.isolated.network.heal(self.isolated.network.host)

    async def carriers_serve(self) -> bool:
        """Each worker has a serving carrier, all of its carriers are there, and no dead one looks alive."""
        per_worker: dict[int, int] = {worker.pid: 0 for worker in self.workers}
        for seen in await self.carriers():
            if seen.beat_age_ms > FRESH_BEAT_MS:
                continue
            owner = worker_of(seen.carrier.pid, self.workers)
            if owner is None or seen.cordoned or seen.carrier.draining:
                continue
            per_worker[owner.pid] += 1
        return set(per_worker.values()) == {self.stack.options.processes}

    # -- Redis

    @contextlib.asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """A connection for one question."""
        redis = lease_redis(self.stack.redis.url)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def carriers(self) -> list[CarrierSeen]:
        async with self.redis() as redis:
            return await Carriers(redis).list()

    async def look(self, room: str) -> RoomState | None:
        async with self.redis() as redis:
            return await Rooms(redis).look(room)

    async def story(self, room: str) -> list[Decision]:
        """What happened in a room; empty while Redis cannot be asked."""
        try:
            async with self.redis() as redis:
                return await DecisionLog(redis).read(room)
        except (RedisError, OSError):
            return []

    async def holder(self, room: str) -> Holder:
        """Who holds the room now.

        Raises:
            SiteFailed: Nobody does.
        """
        state = await self.look(room)
        for seen in await self.carriers():
            if state is not None and seen.carrier.id == state.owner:
                worker = worker_of(seen.carrier.pid, self.workers)
                if worker is not None:
                    return Holder(seen.carrier.id, seen.carrier.pid, state.fence, worker)
        raise SiteFailed(f"no process was found to hold {room}: {state}")

    async def holders(self, rooms: Sequence[str]) -> dict[str, Holder]:
        return {room: await self.holder(room) for room in rooms}

    async def carriers_of(self, worker: Child) -> list[CarrierSeen]:
        """The carriers of a worker that beat."""
        seen = await self.carriers()
        return [one for one in seen if worker_of(one.carrier.pid, [worker]) and one.beat_age_ms <= FRESH_BEAT_MS]

    async def pids_of(self, workers: Sequence[Child]) -> set[int]:
        """Their processes: parents and carriers."""
        carriers = (seen.carrier.pid for seen in await self.carriers())
        return {worker.pid for worker in workers} | {pid for pid in carriers if worker_of(pid, workers)}

    # -- the voice

    async def voice_sessions(self, since_unix_ms: int = 0) -> list[dict[str, Any]]:
        """Reports of the simulator's sessions opened since a moment, oldest first."""
        answer = await asyncio.to_thread(_ask, f"{self.stack.simulator_control_url}/sessions")
        return [one for one in answer["sessions"] if one["opened_unix_ms"] >= since_unix_ms]

    # -- time

    async def until(self, answer: Callable[[], Awaitable[T]], what: str, *, limit_s: float = PATIENCE_S) -> T:
        """Ask until the answer is true, and return it; a Redis that cannot be asked has not answered.

        Raises:
            SiteFailed: It was not within `limit_s`.
        """
        deadline = time.monotonic() + limit_s
        while True:
            with contextlib.suppress(RedisError, OSError):
                if found := await answer():
                    return found
            if time.monotonic() > deadline:
                raise SiteFailed(f"not within {limit_s:g} s: {what}")
            await asyncio.sleep(LOOK_EVERY_S)

    # -- evidence

    async def keep_story(self, room: str, folder: Path) -> str:
        """Write what `roompool why` tells of a room into a file; its path."""
        child = await self.stack.run(f"why-{secrets.token_hex(3)}", ["why", room])
        with contextlib.suppress(TimeoutError):
            await child.wait_ended(timeout_s=ASK_LIMIT_S * 4)
        path = folder / f"why-{room}.txt"
        path.write_bytes(child.out.read_bytes())
        return str(path)


def worker_of(pid: int, workers: Sequence[Child]) -> Child | None:
    """The worker that this process is, or is a child of."""
    family = {pid, parent_of(pid)}
    return next((worker for worker in workers if worker.pid in family), None)


def send(pid: int, number: signal.Signals) -> None:
    """Signal one process, and nothing when it is gone already: what is told is then what the callers saw of it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        os.kill(pid, 0)
        return Stat.of(pid).state not in ("Z", "X")
    except OSError:
        return False


def _ask(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=ASK_LIMIT_S) as answer:
        asked: dict[str, Any] = json.load(answer)
    return asked
