"""A carrier that was asked to stop ends, also when something in it does not: as a process whose parent is the test."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deploy.local.ports import free_port
from pool.carrier_protocol import EXIT_FORCED, CarrierArgs

pytestmark = pytest.mark.timeout(120)

DEAF = """
import asyncio, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # as carrier_main does before it loads what we load here
from pool import carrier_main, carrier_run
from pool.drain import Drain

async def deaf() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

class DeafBeat(carrier_run.CarrierRun):
    async def _beat(self, carrier, carriers):
        await deaf()

class DeafQueue(carrier_run.CarrierRun):
    def _wake_worker(self, carrier):
        built = super()._wake_worker(carrier)
        built.main = deaf
        return built

class DeafDrain(carrier_run.CarrierRun):
    def __init__(self, settings, args):
        super().__init__(settings, args)
        self._drain = Drain(grace_s=0.1, leave_s=0.1)

    async def _until_empty(self, carrier, at, hurry):
        await deaf()

class DeafEnd(carrier_run.CarrierRun):
    async def run(self, orders):
        self.deaf = asyncio.get_running_loop().create_task(deaf(), name="deaf")
        await super().run(orders)

carrier_run.CarrierRun = {kind}
carrier_run.JOINING_LIMIT_S = 1.0
carrier_run.STOP_LIMIT_S = {stop_limit_s}
carrier_main.main(sys.argv[1:])
"""

Events = list[dict[str, Any]]


@asynccontextmanager
async def carrier_of(
    kind: str, redis_url: str, *, stop_limit_s: float = 0.2
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A carrier whose SIGTERM may come as soon as the block begins."""
    program = DEAF.replace("{kind}", kind).replace("{stop_limit_s}", str(stop_limit_s))
    orders, orders_fd = os.pipe()
    reports_fd, reports = os.pipe()
    args = CarrierArgs("carrier-1", "worker-1", 0, os.getpid(), orders, reports)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, *args.argv),
        env={
            "PATH": "", "REDIS_URL": redis_url, "LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}",
            "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 40, "ASSEMBLYAI_API_KEY": "a" * 32,
            "ROOMPOOL_GRACE_S": "0.1",
        },
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(orders, reports),
    )  # fmt: skip
    os.close(orders)
    os.close(reports)
    try:
        with os.fdopen(reports_fd, "rb") as lines:
            async with asyncio.timeout(40):
                while b'"report"' not in await asyncio.to_thread(lines.readline):
                    pass
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(orders_fd)


async def stopped(process: asyncio.subprocess.Process) -> tuple[int, Events]:
    """Ask it to stop, and wait: its status and what it said."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(40):
        _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize(
    ("kind", "task"),
    [("DeafBeat", "beat"), ("DeafQueue", "wake_worker"), ("DeafEnd", "deaf")],
)
async def test_a_task_deaf_to_its_cancellation_does_not_hold_the_process(kind: str, task: str, redis_url: str) -> None:
    """In a core loop, in the queue, or after all of them: the process leaves in time, and names what was stuck."""
    async with carrier_of(kind, redis_url) as process:
        status, said = await stopped(process)

    assert status == EXIT_FORCED
    [forced] = [line for line in said if line["event"] == "stop_forced"]
    assert forced["level"] == "error"
    assert task in forced["tasks"]


async def test_a_drain_that_does_not_end_is_left_behind(redis_url: str) -> None:
    """At the end of grace, farewells, and the time that joining calls may take."""
    async with carrier_of("DeafDrain", redis_url) as process:
        status, said = await stopped(process)

    assert status == EXIT_FORCED
    assert said[-1]["event"] == "stop_forced"


async def test_a_carrier_that_stops_by_itself_says_so(redis_url: str) -> None:
    """The limit is not met where nothing is stuck."""
    async with carrier_of("carrier_run.CarrierRun", redis_url, stop_limit_s=10.0) as process:
        status, said = await stopped(process)

    assert status == 0
    assert [line["event"] for line in said if line["level"] == "error"] == []
    assert said[-1]["event"] == "carrier_stopped"
