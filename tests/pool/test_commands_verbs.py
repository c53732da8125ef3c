"""`roompool hangup` and `drain`, and `why --follow`, as a person runs them over a real Valkey."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version

import pytest

from deploy.local.valkey import Valkey
from pool.commands.drain import drain, named
from pool.commands.hangup import hangup
from pool.commands.ps import workers_of
from pool.contract import Heard
from pool.journal import DecisionLog
from pool.registry import CarrierRecord, Carriers, CarrierSeen, Held, Renewal, Rested, Rooms, Standing
from pool.registry.connect import lease_redis
from tests.e2e.site import until
from tests.pool.test_commands_console import Pool

HERE_S = 20.0


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[Pool]:
    redis = lease_redis(redis_url)
    yield Pool(redis_url, redis, Rooms(redis), Carriers(redis))
    await redis.aclose()


# --- hangup ---------------------------------------------------------------------------------------------------------


async def test_hangup_waits_until_the_carrier_has_rested_the_room(pool: Pool) -> None:
    """Its owner hears of it by the next renewal, and does it; then the command says so."""
    await pool.arrive()
    grant = await pool.claim()
    held = Held("demo", "RM_1", grant.created_unix_ms, grant.fence, dict(grant.callers))

    async def obey() -> None:
        async def told() -> bool:
            return await pool.rooms.renew("one", [held]) == [Renewal.HANG_UP]

        await until(told, "the wish to hang up")
        await pool.rooms.release("one", "demo", grant.fence, Rested(dict(grant.callers)))

    async with asyncio.TaskGroup() as group:
        group.create_task(obey())
        text = await pool.run(hangup, "demo")
    assert text == "the call in demo has ended; whoever joins from now on gets an agent\n"
    state = await pool.rooms.look("demo")
    assert state is not None
    assert state.standing is Standing.RESTED


async def test_hangup_of_a_waiting_room_rests_it_at_once(pool: Pool) -> None:
    """Nobody held it, so there is nobody to wait for."""
    await pool.arrive()
    assert await pool.read(hangup, "demo") == {"room": "demo", "answer": "rested", "is_over": True}


async def test_hangup_of_a_room_that_nobody_is_in_is_status_1(pool: Pool) -> None:
    """So that a script learns of a misspelt name."""
    assert await pool.run(hangup, "demo", status=1) == "nobody is known to be in demo\n"
    assert await pool.read(hangup, "demo", status=1) == {"room": "demo", "answer": "nobody", "is_over": False}


async def test_hangup_that_is_not_heard_in_time_says_so(pool: Pool) -> None:
    """A carrier cut off from Redis cannot hear it: the wish stays, and the command does not wait for ever."""
    await pool.arrive()
    await pool.claim()
    text = await pool.run(hangup, "demo", "--limit-s", "0.2", status=1)
    assert text == "the agent in demo is asked to hang up, and has not within 200 ms\n"
    text = await pool.run(hangup, "demo", "--no-wait")
    assert text == "the agent in demo is asked to hang up\n"


# --- drain ----------------------------------------------------------------------------------------------------------


async def test_drain_tells_every_carrier_of_the_worker(pool: Pool) -> None:
    """By their next beats, and nobody else's."""
    await pool.beat("a-1", worker="worker-a")
    await pool.beat("a-2", worker="worker-a")
    await pool.beat("b-1", worker="worker-b", host="host-b")
    assert await pool.run(drain, "worker-a") == "worker-a is drained, and holds no call\n"
    assert [await pool.beat(one, worker="worker-a") for one in ("a-1", "a-2")] == [True, True]
    assert not await pool.beat("b-1", worker="worker-b", host="host-b")


async def test_drain_of_a_worker_with_calls_says_how_many(pool: Pool) -> None:
    """It drains; to stay until it is empty is for --wait."""
    await pool.beat()
    await pool.arrive()
    await pool.claim()
    assert await pool.run(drain, "worker-a") == "worker-a drains: 1 call in 1 carrier\n"
    assert await pool.read(drain, "worker-a") == {"worker": "worker-a", "carriers": 1, "is_empty": False}


async def test_drain_waits_until_the_last_call_has_gone(pool: Pool) -> None:
    """With what is left on the way."""
    await pool.beat(in_use=1)
    await pool.arrive()
    grant = await pool.claim()

    async def end_the_call() -> None:
        async def is_told() -> bool:
            return await pool.beat(in_use=1)

        await until(is_told, "the wish to drain")
        await pool.rooms.release("one", "demo", grant.fence, Rested(dict(grant.callers)))
        await pool.beat(in_use=0, draining=True)

    async with asyncio.TaskGroup() as group:
        group.create_task(end_the_call())
        text = await pool.run(drain, "worker-a", "--wait")
    assert text.splitlines() == ["1 call left", "worker-a is drained, and holds no call"]


async def test_drain_that_lasts_too_long_is_status_1(pool: Pool) -> None:
    """A deployment must not wait for ever."""
    await pool.beat()
    await pool.arrive()
    await pool.claim()
    text = await pool.run(drain, "worker-a", "--wait", "--limit-s", "0.2", status=1)
    assert text.splitlines()[-1] == "worker-a still holds calls after 200 ms"


async def test_drain_of_one_that_cannot_be_meant_is_status_1(pool: Pool) -> None:
    """None: nobody is told anything. Several: they are listed, and nobody is told anything either."""
    assert "no worker is called worker" in await pool.run(drain, "worker", status=1)
    await pool.beat("c-1", worker="z")
    assert "c-1 is a carrier of the worker z" in await pool.run(drain, "c-1", status=1)
    await pool.beat("a-1", worker="worker-a")
    await pool.beat("b-1", worker="worker-b", host="host-b")
    text = await pool.run(drain, "worker", status=1)
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["worker-a", "worker-b"]
    assert not await pool.beat("a-1", worker="worker-a")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("worker-a", ["worker-a"]),
        ("worker-ab", ["worker-ab"]),
        ("worker", ["worker-a", "worker-ab"]),
        ("host-1", ["worker-a", "worker-ab"]),
        ("host-2", ["other"]),
        ("host", []),
        ("oth", ["other"]),
        ("sil", []),
        ("silent", ["silent"]),
        ("", []),
    ],
)
def test_which_worker_a_word_means(word: str, meant: list[str]) -> None:
    """A whole id before the beginnings of others, hosts as a whole, and the dead by their whole id alone."""
    workers = workers_of(
        [
            seen("worker-a", host="host-1"),
            seen("worker-ab", host="host-1"),
            seen("other", host="host-2"),
            seen("silent", host="host-2", beat_age_ms=60_000),
        ]
    )
    assert sorted(worker.id for worker in named(word, workers)) == meant


def seen(worker: str, *, host: str, beat_age_ms: int = 100) -> CarrierSeen:
    record = CarrierRecord(
        id=f"{worker}-1",
        worker=worker,
        host=host,
        pid=1,
        revision="",
        capacity=8,
        in_use=0,
        draining=False,
        started_unix_ms=1,
    )
    return CarrierSeen(record, leases=0, cordoned=False, beat_age_ms=beat_age_ms)


# --- the command itself ---------------------------------------------------------------------------------------------


async def test_the_command_tells_its_version() -> None:
    """At once: no verb is loaded for it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pool.commands", "--version", stdout=asyncio.subprocess.PIPE
    )
    stdout, _ = await process.communicate()
    assert (process.returncode, stdout.decode()) == (0, f"roompool {version('roompool')}\n")


# --- why --follow ---------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A command in a process of its own, and what it has said."""

    process: asyncio.subprocess.Process
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    async def until_said(self, text: str, where: Callable[["Running"], list[str]]) -> str:
        async def look() -> str:
            return next((line for line in where(self) if text in line), "")

        return await until(look, f"{text!r} in {self.out} {self.err}", limit_s=HERE_S)


@asynccontextmanager
async def following(url: str, *args: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pool.commands", "why", "demo", "--follow", *args,
        env={"REDIS_URL": url, "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    running = Running(process)
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.TaskGroup() as group:
        for stream, lines in ((process.stdout, running.out), (process.stderr, running.err)):
            group.create_task(read_into(stream, lines))
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()


async def read_into(stream: asyncio.StreamReader, lines: list[str]) -> None:
    async for line in stream:
        lines.append(line.decode().rstrip("\n"))


def out(running: Running) -> list[str]:
    return running.out


def err(running: Running) -> list[str]:
    return running.err


async def test_why_follows_a_room_until_ctrl_c(pool: Pool) -> None:
    """What is known, then each new line as it comes; 130 at the end, as for every command."""
    async with following(pool.url) as running:
        await running.until_said("No agent: no webhook has named this room", out)
        await pool.arrive()
        await running.until_said("a caller is in the room, 1 caller now", out)
        await DecisionLog(pool.redis).hear([Heard("demo", "EV_1", "PA_9", "may_not_publish")])
        await running.until_said("its token does not let it publish", out)
        running.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(HERE_S):
            assert await running.process.wait() == 130
    assert [line for line in running.err if line and "bort" not in line] == []


async def test_why_follows_in_json_line_by_line(pool: Pool) -> None:
    """The answer so far in the first, and one more for each that comes."""
    await pool.arrive()
    async with following(pool.url, "--json") as running:
        first = json.loads(await running.until_said('"sentence"', out))
        assert [line["event"] for line in first["story"]] == ["arrived", "waiting"]
        await pool.claim()
        claimed = json.loads(await running.until_said('"claimed"', out))
        assert claimed["text"].startswith("one was given the room: fence ")
        running.process.send_signal(signal.SIGINT)


async def test_why_goes_on_when_redis_was_away(valkey: Valkey) -> None:
    """Without its data, too: a line says that something may be missing, and what comes after is told."""
    async with following(valkey.url) as running, aclosing(lease_redis(valkey.url)) as redis:
        await running.until_said("No agent", out)
        valkey.kill()
        await running.until_said("Redis gives no answer", err)
        await valkey.revive(keep_data=False)
        await running.until_said("Redis answers again", err)
        await DecisionLog(redis).append("demo", "joined", carrier="one")
        await running.until_said("one is in the room", out)
        running.process.send_signal(signal.SIGINT)


async def test_a_reader_that_goes_away_ends_why(pool: Pool) -> None:
    """`roompool why ROOM -f | head -1` ends with head, and blames nobody's Redis."""
    for number in range(3):
        await DecisionLog(pool.redis).append("demo", "joined", carrier=f"c{number}")
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m pool.commands why demo --follow | head -1",
        env={"REDIS_URL": pool.url, "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def more() -> bool:
        await DecisionLog(pool.redis).append("demo", "joined", carrier="more")
        return process.returncode is not None

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(process.communicate())
        await until(more, "the end of the command", limit_s=HERE_S)
    stdout, stderr = reading.result()
    assert len(stdout.splitlines()) == 1
    assert b"REDIS_URL" not in stderr
