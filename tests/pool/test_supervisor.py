"""A parent and its carriers as processes. Those that talk are in tests/e2e/test_parent.py."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.valkey import Valkey
from pool.registry import Carriers
from pool.registry.connect import lease_redis
from tests.peers.pids import is_alive, until_gone
from tests.pool.workers import LIMIT_S, until, worker_at

pytestmark = pytest.mark.timeout(240)

SDK = "google/_upb"
"""What LiveKit's SDK speaks with its native part; the latter is loaded with the first call only."""

LOADED = """
import sys, pool.worker_main, pool.supervisor, pool.base.logs
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"livekit", "arq", "bridge", "pydantic", "typer"}))
"""
AT_ONCE_S = 5.0
FROZEN_S = 7.0

KILLS_ITSELF = "signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))"
"""On SIGUSR1, as LiveKit's SDK does when its native part panics."""

HASTY = """
import sys
from pool import supervisor, worker_main
supervisor.LEAVE_S = supervisor.JOINING_LIMIT_S = 0.5
worker_main.main([sys.argv[3], "127.0.0.1", "0"])
"""
"""A parent that ends a carrier which hangs after one second instead of half a minute."""


IMPATIENT = """
import sys
from pool import carrier_health, worker_main
carrier_health.SILENT_S = 5.0
worker_main.main([sys.argv[3], "127.0.0.1", "0"])
"""
"""A parent that takes a carrier for stuck after five seconds instead of thirty."""


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def pss_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (line,) = [line for line in rollup.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) / 1024


async def test_the_parent_is_small_and_loads_no_sdk(redis_url: str, tmp_path: Path) -> None:
    """Its carriers have loaded LiveKit's SDK, it has not; one line says who they are."""
    async with worker_at(redis_url, tmp_path) as worker:
        await worker.ready()
        (ready,) = worker.child.events("worker_ready")
        assert ready.facts["carriers"] == sorted(worker.pids) == [f"{worker.id}-1", f"{worker.id}-2"]
        assert (ready.facts["processes"], ready.facts["capacity"]) == (2, 8)
        assert SDK not in maps(worker.child.pid)
        assert all(SDK in maps(pid) for pid in worker.pids.values())
        assert pss_mb(worker.child.pid) < 40
        assert await worker.readyz() == (200, "2 of 2 carriers ready: taking calls")


def test_nothing_that_a_parent_loads_brings_more() -> None:
    """Neither the SDK and arq, nor what reads settings or a command line."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert done.stdout == "\n"


async def test_a_lone_carrier_is_named_in_the_first_line(redis_url: str, tmp_path: Path) -> None:
    """For whoever knows only one."""
    async with worker_at(redis_url, tmp_path, processes=1) as worker:
        await worker.ready()
        assert worker.child.events("worker_ready")[0].facts["carrier"] == f"{worker.id}-1"


async def test_a_killed_carrier_is_cordoned_and_replaced(redis_url: str, tmp_path: Path) -> None:
    """Under a new name, while the other goes on; what it counted is not forgotten."""
    async with worker_at(redis_url, tmp_path) as worker:
        await worker.ready()
        dead, other = worker.pids

        async def has_reconciled() -> bool:
            return any(name.startswith("roompool_reconciles_total") for name in await worker.series())

        await until(has_reconciled, "a look at LiveKit's list")
        before = await worker.series()
        os.kill(worker.pids[dead], signal.SIGKILL)
        died = await worker.child.wait_event("carrier_died", carrier=dead)
        assert died.facts["status"] == -signal.SIGKILL
        await worker.child.wait_event("carrier_reaped", carrier=dead)
        assert (await worker.carriers())[dead].cordoned
        await worker.until_ready("2 of 2 carriers ready: taking calls")
        assert is_alive(worker.pids[other])
        after = await worker.series()
        assert after["roompool_carrier_restarts_total"] == 1
        assert after['roompool_reaps_total{outcome="freed"}'] == 1
        assert after['roompool_carriers{state="ready"}'] == 2
        assert after["roompool_capacity"] == 16
        counted = [name for name in before if name.startswith("roompool_reconciles_total")]
        assert all(after[name] >= before[name] for name in counted)


async def test_carriers_die_with_a_killed_parent(redis_url: str, tmp_path: Path) -> None:
    """At once: nobody is left to watch them."""
    async with worker_at(redis_url, tmp_path) as worker:
        await worker.ready()
        os.kill(worker.child.pid, signal.SIGKILL)
        await until_gone(worker.pids.values(), within_s=AT_ONCE_S)


async def test_a_frozen_parent_harms_no_carrier(redis_url: str, tmp_path: Path) -> None:
    """They beat on; thawed, it finds them well."""
    async with worker_at(redis_url, tmp_path) as worker:
        await worker.ready()
        await worker.known(2)
        os.kill(worker.child.pid, signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        frozen_at = loop.time()
        try:

            async def stood_still_for_long() -> bool:
                seen = await worker.carriers()
                beats_at = [loop.time() - seen[carrier].beat_age_ms / 1000 for carrier in worker.pids]
                return min(beats_at) > frozen_at + FROZEN_S

            await until(stood_still_for_long, "a beat of each carrier after three and more")
        finally:
            os.kill(worker.child.pid, signal.SIGCONT)
        await worker.until_ready("2 of 2 carriers ready: taking calls")
        assert len(worker.pids) == 2


async def test_carriers_that_die_as_fast_as_they_start_end_the_worker(redis_url: str, tmp_path: Path) -> None:
    """With exit status 1 and a line that says so: the orchestrator must see it."""
    async with worker_at(redis_url, tmp_path, in_a_carrier="os._exit(3)") as worker:
        assert await worker.child.wait_ended(timeout_s=LIMIT_S) == 1
        (loop,) = worker.child.events("crash_loop")
        assert loop.facts["level"] == "error"
        assert loop.facts["cure"]
        assert len(worker.child.events("carrier_died", status=3)) == 5


async def test_wrong_settings_are_told_once(redis_url: str, tmp_path: Path) -> None:
    """Though every carrier met them; exit status 2."""
    async with worker_at(redis_url, tmp_path, processes=3, env={"ROOMPOOL_CAPACITY": "0"}) as worker:
        assert await worker.child.wait_ended(timeout_s=LIMIT_S) == 2
        (line,) = worker.child.lines()
        assert line.text.startswith("ROOMPOOL_CAPACITY: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_in_order(number: signal.Signals, redis_url: str, tmp_path: Path) -> None:
    """Exit status 0; no carrier, no record of one, and no temporary folder is left."""
    async with worker_at(redis_url, tmp_path) as worker:
        await worker.ready()
        os.killpg(worker.child.pid, number)  # as a terminal, or an orchestrator that knows no better
        assert await worker.child.wait_ended(timeout_s=LIMIT_S) == 0
        assert len(worker.child.events("carrier_stopped")) == 2
        assert [line.event for line in worker.child.lines()][-1] == "worker_stopped"
        assert not any(map(is_alive, worker.pids.values()))
        assert await worker.carriers() == {}
        assert list(tmp_path.glob("roompool-*")) == []


async def test_an_sdk_panic_is_told_from_somebody_elses_signal(redis_url: str, tmp_path: Path) -> None:
    """SIGTERM from itself: gone at once, named, counted and replaced. From elsewhere: drained, and replaced."""
    async with worker_at(redis_url, tmp_path, in_a_carrier=KILLS_ITSELF) as worker:
        await worker.ready()
        panics, drains = worker.pids
        os.kill(worker.pids[panics], signal.SIGUSR1)
        panic = await worker.child.wait_event("sdk_panic", carrier=panics)
        assert panic.facts["cure"]
        assert worker.child.events("draining", carrier=panics) == []
        await worker.child.wait_event("carrier_reaped", carrier=panics)
        os.kill(worker.pids[drains], signal.SIGTERM)
        await worker.child.wait_event("carrier_stopped", carrier=drains)
        await worker.started(4)
        await worker.until_ready("2 of 2 carriers ready: taking calls")
        assert (await worker.series())["roompool_sdk_panics_total"] == 1
        assert worker.child.events("carrier_died") == []


async def test_a_carrier_that_hangs_is_ended_with_the_worker(redis_url: str, tmp_path: Path) -> None:
    """When its own limits are over; the worker's status is 0, since it did what it was told."""
    program = (sys.executable, "-c", HASTY)
    async with worker_at(redis_url, tmp_path, program=program, env={"ROOMPOOL_GRACE_S": "0"}) as worker:
        await worker.ready()
        hangs, _ = worker.pids
        os.kill(worker.pids[hangs], signal.SIGSTOP)
        worker.child.ask_to_end()
        assert await worker.child.wait_ended(timeout_s=LIMIT_S) == 0
        assert hangs in [line.facts["carrier"] for line in worker.child.events("carrier_killed")]
        assert hangs in [line.facts["carrier"] for line in worker.child.events("carrier_reaped")]


async def test_a_carrier_that_stands_still_for_long_is_replaced(redis_url: str, tmp_path: Path) -> None:
    """Its rooms are others' by then; the one beside it is left alone."""
    program = (sys.executable, "-c", IMPATIENT)
    async with worker_at(redis_url, tmp_path, program=program) as worker:
        await worker.ready()
        stuck, other = worker.pids
        os.kill(worker.pids[stuck], signal.SIGSTOP)
        await worker.child.wait_event("carrier_stuck", carrier=stuck, timeout_s=LIMIT_S)
        await worker.child.wait_event("carrier_reaped", carrier=stuck, timeout_s=LIMIT_S)
        await worker.until_ready("2 of 2 carriers ready: taking calls")
        assert is_alive(worker.pids[other])


async def test_a_worker_that_somebody_drained_stays_up_and_idle(redis_url: str, tmp_path: Path) -> None:
    """With all its carriers, one that was started since too; it ends when it is told to."""
    async with worker_at(redis_url, tmp_path) as worker:
        await worker.ready()
        await worker.known(2)
        redis = lease_redis(redis_url)
        assert await Carriers(redis).drain(worker.id) == 2
        await redis.aclose()
        await worker.until_ready("0 of 2 carriers ready: drained")
        assert (await worker.readyz())[0] == 503
        os.kill(next(iter(worker.pids.values())), signal.SIGKILL)
        await worker.started(3)
        newest = list(worker.pids)[-1]
        await worker.child.wait_event("draining", carrier=newest, timeout_s=LIMIT_S)
        await worker.until_ready("0 of 2 carriers ready: drained")
        assert worker.child.exit_code is None
        worker.child.ask_to_end()
        assert await worker.child.wait_ended(timeout_s=LIMIT_S) == 0


async def test_a_carrier_dies_while_redis_is_away(tmp_path: Path) -> None:
    """It is replaced, and the worker says what it waits for."""
    async with Valkey() as valkey, worker_at(valkey.url, tmp_path, processes=1) as worker:
        await worker.ready()
        valkey.kill()
        os.kill(next(iter(worker.pids.values())), signal.SIGKILL)
        await worker.started(2)
        await worker.until_ready("0 of 1 carriers ready: redis does not answer")
        await valkey.revive()
        await worker.until_ready("1 of 1 carriers ready: taking calls")
