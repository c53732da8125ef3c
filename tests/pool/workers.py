"""A worker as its user starts it, without LiveKit: what its parent does is seen from outside."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from deploy.local.ports import free_port
from deploy.local.processes import Child, Processes
from pool.registry import Carriers, CarrierSeen
from pool.registry.connect import lease_redis

ROOMPOOL = (sys.executable, "-m", "pool.commands")

LIMIT_S = 60.0
"""For what takes a second on an idle machine."""

IN_A_CARRIER = """
import os, signal, sys
if any(word.endswith("carrier_main.py") for word in sys.orig_argv):
"""


async def until(is_so: Callable[[], Awaitable[object]], what: str, *, limit_s: float = LIMIT_S) -> None:
    """Wait until it is so.

    Raises:
        AssertionError: It was not within `limit_s`.
    """
    deadline = time.monotonic() + limit_s
    while not await is_so():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:g} s"
        await asyncio.sleep(0.02)


@dataclass
class Worker:
    """A running one, and questions to it."""

    child: Child
    redis_url: str

    async def ready(self) -> None:
        await self.child.wait_event("worker_ready", timeout_s=LIMIT_S)

    @property
    def id(self) -> str:
        return str(self.child.events("worker_ready")[0].facts["worker"])

    @property
    def pids(self) -> dict[str, int]:
        """Every carrier that was started so far, and its pid."""
        return {line.facts["carrier"]: line.facts["pid"] for line in self.child.events("carrier_started")}

    async def started(self, count: int) -> None:
        """Wait until so many carriers have been started, from the first on."""

        async def are() -> bool:
            return len(self.pids) >= count

        await until(are, f"{count} carriers started")

    async def known(self, count: int) -> None:
        """Wait until so many carriers have said in Redis that they live."""

        async def are() -> bool:
            return len(await self.carriers()) >= count

        await until(are, f"{count} carriers in Redis")

    async def readyz(self) -> tuple[int, str]:
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{self._ops_url}/readyz")
        return answer.status_code, answer.json()["reason"]

    async def until_ready(self, reason: str) -> None:
        async def is_so() -> bool:
            return (await self.readyz())[1] == reason

        await until(is_so, reason)

    async def series(self) -> dict[str, float]:
        """Its metrics: name with labels, to value."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"{self._ops_url}/metrics")).text
        rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    async def carriers(self) -> dict[str, CarrierSeen]:
        """What Redis knows of carriers."""
        redis = lease_redis(self.redis_url)
        try:
            return {seen.carrier.id: seen for seen in await Carriers(redis).list()}
        finally:
            await redis.aclose()

    @property
    def _ops_url(self) -> str:
        return str(self.child.events("worker_ready")[0].facts["ops_url"])


@asynccontextmanager
async def worker_at(
    redis_url: str,
    folder: Path,
    *,
    processes: int = 2,
    in_a_carrier: str = "",
    program: Sequence[str] = ROOMPOOL,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Worker]:
    """A worker with so many carriers; it is gone when the block is left.

    Args:
        in_a_carrier: Lines of Python that each carrier runs before anything else.
        program: What stands for `roompool`.
    """
    folder.mkdir(exist_ok=True)
    hooks = {}
    if in_a_carrier:
        (folder / "sitecustomize.py").write_text(
            IN_A_CARRIER + "".join(f"    {line}\n" for line in in_a_carrier.splitlines())
        )
        hooks = {"PYTHONPATH": str(folder)}
    settings = {
        "REDIS_URL": redis_url, "LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}", "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "s" * 40, "ASSEMBLYAI_API_KEY": "a" * 32, "TMPDIR": str(folder),
    }  # fmt: skip
    async with Processes(folder) as running:
        words = [*program, "worker", "--processes", str(processes)]
        child = await running.start("worker", words, env={**settings, **hooks, **(env or {})})
        yield Worker(child, redis_url)
