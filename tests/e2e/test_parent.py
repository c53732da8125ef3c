"""A worker with two carriers, and calls in them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from bridge.caller.wav import hello
from deploy.local.processes import Child
from deploy.local.stack import Stack, StackOptions
from tests.e2e.site import END_S, PATIENCE_S, Site, leaks, new_room, until
from tests.peers.pids import until_gone

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

KILLS_ITSELF = """
import os, signal, sys
if any(word.endswith("carrier_main.py") for word in sys.orig_argv):
    signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
"""
"""On SIGUSR1 a carrier does what LiveKit's SDK does when its native part panics."""

AT_ONCE_S = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def family(tmp_path_factory: pytest.TempPathFactory, settings: Mapping[str, str]) -> AsyncIterator[Site]:
    """Everything but workers; those that a test hires have two carriers each."""
    options = StackOptions(run_dir=tmp_path_factory.mktemp("family"), workers=0, processes=2, settings=settings)
    async with Stack.start(options) as stack, Site.on(stack) as site:
        yield site
        assert leaks(stack) == []


def pids(worker: Child) -> dict[str, int]:
    """Every carrier that the worker has started, and its pid."""
    return {line.facts["carrier"]: line.facts["pid"] for line in worker.events("carrier_started")}


async def owner_of(site: Site, worker: Child, room: str, *, fence_above: int = 0) -> tuple[str, int]:
    """The carrier that claimed the room first under a fence above this one, and its fence."""
    _, claim = await site.claimed(room, [worker], fence_above=fence_above)
    return claim.facts["carrier"], claim.facts["fence"]


async def test_the_other_carrier_goes_on_when_one_is_killed(family: Site) -> None:
    """Its rooms are free at once, without waiting for the end of a lease; the caller never hears two, nor sees two."""
    room = new_room("reaped")
    async with family.hire() as (worker,), family.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        dead, fence = await owner_of(family, worker, room)
        killed_at = asyncio.get_running_loop().time()
        os.kill(pids(worker)[dead], signal.SIGKILL)
        reaped = await worker.wait_event("carrier_reaped", carrier=dead)
        assert reaped.facts["rooms"] == 1
        successor, _ = await owner_of(family, worker, room, fence_above=fence)
        assert successor != dead
        await caller.agent_heard(PATIENCE_S, since=killed_at)
        asked = await caller.say(hello())
        await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        witness = caller.witness
        assert (len(witness.stays), witness.agents_max, witness.audible_max, witness.overlap_s()) == (2, 1, 1, 0)
        assert "lease_ended" not in {one.event for one in await family.story(room)}
        await caller.hang_up()


async def test_carriers_in_a_call_die_with_their_parent(family: Site) -> None:
    """kill -9 of the parent leaves nobody behind to speak."""
    async with family.hire() as (worker,), family.caller(new_room("orphans")) as caller:
        await caller.agent_heard(PATIENCE_S)
        os.kill(worker.pid, signal.SIGKILL)
        await until_gone(pids(worker).values(), within_s=AT_ONCE_S)


async def test_ctrl_c_reaches_everybody_and_counts_once(family: Site) -> None:
    """A terminal signals parent and carriers alike: the call goes on. The second one ends it, with exit status 0."""
    room = new_room("ctrl-c")
    async with family.hire() as (worker,), family.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        os.killpg(worker.pid, signal.SIGINT)
        await worker.wait_event("draining", calls=1)
        assert await family.readiness(worker) == 503
        asked = await caller.say(hello())
        await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)
        assert worker.events("stopping_calls") == []
        os.killpg(worker.pid, signal.SIGINT)
        assert await worker.wait_ended(timeout_s=END_S) == 0
        assert [line.facts["ending"] for line in worker.events("call_ended", room=room)] == ["stopped"]
        await caller.hang_up()


async def test_a_spent_carrier_makes_place_between_calls(family: Site) -> None:
    """After as many calls as it may carry, and never during one; the series of the worker know of all calls."""
    async with family.hire(ROOMPOOL_RECYCLE_CALLS="1", ROOMPOOL_CAPACITY="1") as (worker,):
        for number in (1, 2):
            async with family.caller(new_room("spent")) as caller:
                await caller.agent_heard(PATIENCE_S)
                assert len(worker.events("carrier_retiring")) == number - 1
                await caller.hang_up()
            await until(partial(has_recycled, worker, number), f"{number} carriers replaced")
        async with family.caller(new_room("fresh")) as caller:
            await caller.agent_heard(PATIENCE_S)
            series = await family.metrics(worker)
            assert sum(value for name, value in series.items() if name.startswith("roompool_calls_total")) == 2
            assert series['roompool_claims_total{answer="granted"}'] == 3
            assert (series["roompool_capacity"], series["roompool_carrier_recycles_total"]) == (2, 2)
            assert worker.events("carrier_died") == []
            await caller.hang_up()


async def has_recycled(worker: Child, count: int) -> bool:
    """Whether so many carriers made place and as many were started since."""
    return len(worker.events("carrier_retiring")) == count and len(pids(worker)) == 2 + count


async def test_a_panic_in_a_call_is_seen_among_the_sdks_threads(family: Site, tmp_path: Path) -> None:
    """The SIGTERM that a process sends itself ends it at once, and the other carrier goes on with the call."""
    (tmp_path / "sitecustomize.py").write_text(KILLS_ITSELF)
    room = new_room("panic")
    async with family.hire(PYTHONPATH=str(tmp_path)) as (worker,), family.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        panics, fence = await owner_of(family, worker, room)
        os.kill(pids(worker)[panics], signal.SIGUSR1)
        await worker.wait_event("sdk_panic", carrier=panics)
        assert (await worker.wait_event("carrier_reaped", carrier=panics)).facts["rooms"] == 1
        assert worker.events("draining") == []
        successor, _ = await owner_of(family, worker, room, fence_above=fence)
        assert successor != panics
        await caller.hang_up()
