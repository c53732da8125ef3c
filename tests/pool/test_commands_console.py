"""`roompool ps`, `why` and `retry` as a person or a program runs them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from redis.asyncio import Redis
from typer.testing import CliRunner

from deploy.local.ports import free_port
from pool.base.errors import SettingsInvalid
from pool.base.text import printable, shortened
from pool.commands.console import columns
from pool.commands.drain import drain
from pool.commands.hangup import hangup
from pool.commands.lengths import lasting
from pool.commands.ps import ps
from pool.commands.retry import retry
from pool.commands.verdict import UNKNOWN
from pool.commands.why import why
from pool.contract import Arrived, Finished
from pool.journal import DecisionLog
from pool.registry import Again, CarrierRecord, Carriers, Grant, Rested, Rooms
from pool.registry.connect import lease_redis

HOSTILE = "\x1b[2Jroom\r\n\u202e"


@dataclass(frozen=True, slots=True)
class Pool:
    """A Redis in which something happens, and the verbs that look at it."""

    url: str
    redis: Redis
    rooms: Rooms
    carriers: Carriers

    async def arrive(self, room: str = "demo", sid: str = "RM_1") -> None:
        seconds, _ = await self.redis.time()
        await self.rooms.note(Arrived(room, sid, (seconds + 5) * 1000, "PA_1", (seconds + 5) * 1000))

    async def claim(self) -> Grant:
        grant = await self.rooms.claim_next("one", capacity=8)
        assert isinstance(grant, Grant)
        return grant

    async def fail(self) -> None:
        grant = await self.claim()
        await self.rooms.release("one", grant.room, grant.fence, Again(failed=True))

    async def beat(
        self,
        name: str = "one",
        *,
        worker: str = "worker-a",
        host: str = "host-a",
        capacity: int = 8,
        in_use: int = 0,
        draining: bool = False,
        worker_started_unix_ms: int = 1,
    ) -> bool:
        return await self.carriers.beat(
            CarrierRecord(
                id=name,
                worker=worker,
                host=host,
                pid=4711,
                revision="r7",
                capacity=capacity,
                in_use=in_use,
                draining=draining,
                started_unix_ms=1,
                worker_started_unix_ms=worker_started_unix_ms,
            )
        )

    async def run(self, verb: Callable[..., Any], *args: str, status: int = 0) -> str:
        """What a verb prints; its status must be as expected."""
        app = typer.Typer()
        app.command()(verb)
        command = ["--redis-url", self.url, *args]
        result = await asyncio.to_thread(CliRunner().invoke, app, command)  # a verb brings its own loop
        assert (result.exit_code, type(result.exception)) in {(status, type(None)), (status, SystemExit)}, result.output
        return result.output

    async def read(self, verb: Callable[..., Any], *args: str, status: int = 0) -> Any:
        return json.loads(await self.run(verb, "--json", *args, status=status))


@pytest.fixture
async def pool(redis_url: str) -> AsyncIterator[Pool]:
    redis = lease_redis(redis_url)
    yield Pool(redis_url, redis, Rooms(redis), Carriers(redis))
    await redis.aclose()


async def test_ps_of_an_empty_pool_says_what_to_do(pool: Pool) -> None:
    """Nothing runs yet: say so, and how to start."""
    assert await pool.run(ps) == (
        "no worker: start one with `roompool worker`\n\nno room is owned, waits or is quarantined\n"
    )


async def test_ps_lists_workers_carriers_and_rooms(pool: Pool) -> None:
    """Who carries, how full, since when; who has an agent, and who waits."""
    await pool.beat()
    await pool.arrive("owned", "RM_1")
    await pool.claim()
    await pool.arrive("waiting", "RM_2")

    lines = [line.split() for line in (await pool.run(ps)).splitlines()]

    assert lines[1] == ["worker-a", "host-a", "r7", "1/8", "-", "serving"]
    assert lines[2][:5] == ["one", "4711", "1/8", "-", "serving"]
    assert (lines[5][0], lines[5][1], lines[5][-1]) == ("waiting", "waiting", "RM_2")
    assert (lines[6][0], lines[6][1], lines[6][-1]) == ("owned", "owned", "RM_1")
    assert "one" in lines[6]


async def test_ps_groups_carriers_by_their_worker(pool: Pool) -> None:
    """The worker that was started last comes first, with the sum of what its carriers hold."""
    await pool.beat("old-1", worker="old", capacity=4)
    await pool.beat("new-2", worker="new", capacity=3, worker_started_unix_ms=9)
    await pool.beat("new-1", worker="new", capacity=2, worker_started_unix_ms=9)
    await pool.arrive()
    await pool.rooms.claim_next("new-2", capacity=3)

    seen = await pool.read(ps)

    assert [(one["id"], one["carriers"], one["leases"], one["capacity"]) for one in seen["workers"]] == [
        ("new", ["new-1", "new-2"], 1, 5),
        ("old", ["old-1"], 0, 4),
    ]
    names = [line.split()[0] for line in (await pool.run(ps)).splitlines()[1:6]]
    assert names == ["new", "new-1", "new-2", "old", "old-1"]


async def test_ps_is_read_by_programs(pool: Pool) -> None:
    """Carriers with their state, rooms with numbers in ms, and counters."""
    await pool.beat("drains", worker="w1", draining=True, in_use=1)
    await pool.beat("drained", worker="w2", draining=True)
    await pool.beat("full", worker="w3", capacity=0)
    await pool.beat("told", worker="w4")
    await pool.carriers.drain("w4")
    await pool.carriers.cordon("cordoned")
    await pool.beat("cordoned", worker="w5")
    await pool.carriers.cordon("dead")  # before its first beat
    await pool.arrive()

    seen = await pool.read(ps)

    assert {carrier["id"]: carrier["state"] for carrier in seen["carriers"]} == {
        "drains": "draining",
        "drained": "drained",
        "full": "full",
        "told": "drained",
        "cordoned": "cordoned",
    }
    [room] = seen["rooms"]
    assert (room["room"], room["standing"], room["owner"], room["callers"]) == ("demo", "waiting", None, 1)
    assert 0 <= room["waited_ms"] < 60_000
    assert seen["counters"] == {}


async def test_ps_shows_who_stands_by(pool: Pool) -> None:
    """A slot that is kept for a call about to be handed over."""
    await pool.beat("one", worker="w1")
    await pool.beat("two", worker="w2")
    await pool.arrive()
    grant = await pool.claim()
    await DecisionLog(pool.redis).append("demo", "joined", carrier="one")
    await pool.rooms.offer("one", "demo", grant.fence)

    assert {one["id"]: one["reservations"] for one in (await pool.read(ps))["carriers"]} == {"one": 0, "two": 1}
    assert "It is about to go to two, which gets ready." in (await pool.read(why, "demo"))["sentence"]


async def test_why_tells_the_story_of_a_room(pool: Pool) -> None:
    """One sentence on where it stands, then every decision in order, from scripts and carriers alike."""
    await pool.arrive()
    grant = await pool.claim()
    await DecisionLog(pool.redis).append("demo", "joined", carrier="one", after_ms=312)

    lines = (await pool.run(why, "demo")).splitlines()

    assert lines[0].startswith("There is an agent: one has held the room for ")
    assert f"fence {grant.fence}, the lease ends in " in lines[0]
    assert "; 1 caller." in lines[0]
    assert [line.split()[2] for line in lines[2:]] == ["arrived", "waiting", "claimed", "joined"]
    assert f"one was given the room: fence {grant.fence}, try 1" in lines[-2]
    assert lines[-1].endswith("one is in the room, after 312 ms")


async def test_why_is_read_by_programs(pool: Pool) -> None:
    """The sentence, the state as numbers, and the story with its facts."""
    await pool.arrive()

    told = await pool.read(why, "demo")

    assert (told["room"], told["state"]["standing"], told["state"]["sid"]) == ("demo", "waiting", "RM_1")
    assert [line["event"] for line in told["story"]] == ["arrived", "waiting"]
    assert told["story"][0]["facts"] == {"callers": "1"}
    assert told["story"][0]["text"] == "a caller is in the room, 1 caller now"


async def test_why_of_an_unknown_room_gives_hints(pool: Pool) -> None:
    """Nobody named it: what to look at, and a status that a program can see."""
    text = await pool.run(why, "nobody", status=1)
    assert text.startswith(f"{UNKNOWN}\n")
    assert "ROOMPOOL_ROOMS" in text

    told = await pool.read(why, "nobody", status=1)
    assert (told["sentence"], told["state"], told["story"]) == (UNKNOWN, None, [])


async def test_why_says_where_a_room_stands(pool: Pool) -> None:
    """Each standing has its sentence, with what helps."""

    async def sentence() -> str:
        text: str = (await pool.read(why, "demo"))["sentence"]
        return text

    await pool.arrive()
    assert "No carrier is alive" in await sentence()
    await pool.beat(draining=True)
    assert "No carrier takes calls (drained)" in await sentence()
    await pool.beat()
    assert "1 carrier with a free slot" in await sentence()
    await pool.fail()
    await pool.fail()
    assert (await sentence()).startswith("No agent for the moment: next try in ")
    await pool.redis.delete("roompool:room:demo")
    await pool.arrive()
    grant = await pool.claim()
    await pool.rooms.release("one", "demo", grant.fence, Rested({"PA_1": 10**13}))
    assert (await sentence()).startswith("No agent: the call was ended, ")
    await pool.rooms.note(Finished("demo", "RM_1"))
    assert await sentence() == "No agent: LiveKit closed the room, and this life of it (RM_1) is over."
    await pool.redis.delete("roompool:room:demo")
    assert await sentence() == "No agent: nobody is noted in this room, and it has no owner."


async def test_retry_lifts_a_quarantine(redis_url: str) -> None:
    """Once; a second time there is nothing to lift."""
    redis = lease_redis(redis_url)
    now = [10**13]
    pool = Pool(redis_url, redis, Rooms(redis, now_ms=lambda: now[0]), Carriers(redis))
    await pool.rooms.due()
    await pool.rooms.note(Arrived("demo", "RM_1", now[0], "PA_1", now[0]))
    for _ in range(3):
        now[0] += 1400  # past the back-off, within the grace that follows silence
        await pool.rooms.due()
        await pool.fail()

    assert "quarantined for" in (await pool.read(why, "demo"))["sentence"]
    assert "quarantined" in (await pool.run(ps)).split()
    assert await pool.run(retry, "demo") == "demo is no longer quarantined\n"
    assert await pool.run(retry, "demo", status=1) == "demo is not quarantined\n"
    assert await pool.read(retry, "demo", status=1) == {"room": "demo", "lifted": False}
    await redis.aclose()


async def test_names_cannot_move_the_cursor(pool: Pool) -> None:
    """A room name made of control characters comes out spelled; as JSON it comes out whole."""
    await pool.arrive(HOSTILE)

    for text in (await pool.run(ps), await pool.run(why, HOSTILE), await pool.run(retry, HOSTILE, status=1)):
        assert all(line.isprintable() for line in text.splitlines())
    assert (await pool.read(ps))["rooms"][0]["room"] == HOSTILE


@pytest.mark.parametrize("name", ["x" * 4096, "\x1b" * 1024], ids=["letters", "escapes"])
async def test_a_long_name_does_not_push_the_others_off_the_screen(pool: Pool, name: str) -> None:
    """The table cuts it, JSON has it whole."""
    await pool.arrive(name)
    await pool.arrive("demo", "RM_2")

    assert max(map(len, (await pool.run(ps)).splitlines())) < 130
    # Both may have come in the same millisecond, so their order says nothing.
    assert {room["room"] for room in (await pool.read(ps))["rooms"]} == {name, "demo"}


async def test_ps_tells_of_strangers_at_our_keys(pool: Pool) -> None:
    """Something else writes to this Redis, and an operator should know."""
    await pool.redis.set("roompool:waiting", "stranger")
    await pool.arrive()

    assert "1 key of another type replaced" in await pool.run(ps)


async def test_ps_tells_of_a_clock_that_was_set_back(pool: Pool) -> None:
    """Rooms may have waited for it."""
    seconds, _ = await pool.redis.time()
    await Rooms(pool.redis, now_ms=lambda: (seconds + 3600) * 1000).due()
    await pool.rooms.due()

    assert "Redis' clock was set back 1 time:" in await pool.run(ps)


@pytest.mark.parametrize(
    "verb", [(ps,), (why, "demo"), (retry, "demo"), (hangup, "demo"), (drain, "one")], ids=lambda verb: verb[0].__name__
)
async def test_a_redis_that_is_away_is_a_line_and_status_1(verb: tuple[Any, ...]) -> None:
    """No traceback, no password."""
    redis = lease_redis("redis://127.0.0.1:1/0")
    away = Pool(f"redis://:geheim@127.0.0.1:{free_port()}/0", redis, Rooms(redis), Carriers(redis))

    text = await away.run(*verb, status=1)

    assert text.startswith("Redis at 127.0.0.1:")
    assert "geheim" not in text


async def test_an_address_that_is_none_is_a_matter_of_settings() -> None:
    """Named with its variable and the cure."""
    app = typer.Typer()
    app.command()(ps)
    result = await asyncio.to_thread(CliRunner().invoke, app, ["--redis-url", "localhost"])

    assert isinstance(result.exception, SettingsInvalid)
    assert result.exception.problems[0].startswith("REDIS_URL: ")


async def test_the_command_itself_finds_its_verbs(pool: Pool) -> None:
    """`roompool ps` in a process of its own, with REDIS_URL from the environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pool.commands", "ps", "--json",
        env={"REDIS_URL": pool.url, "PATH": ""}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()

    assert (process.returncode, err) == (0, b"")
    assert json.loads(out) == {"workers": [], "carriers": [], "rooms": [], "counters": {}}


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (340, "340 ms"),
        (4100, "4.1 s"),
        (41_000, "41 s"),
        (720_000, "12 min"),
        (12_600_000, "3.5 h"),
        (200_000_000, "2 d"),
    ],
)
def test_lengths_of_time(ms: int, text: str) -> None:
    """As coarse as a person reads them."""
    assert lasting(ms) == text


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    """Aligned, without spaces at the ends of lines."""
    assert columns([("A", "BB"), ("longer", "x")]) == "A       BB\nlonger  x"


def test_what_prints_is_left_alone() -> None:
    """Only characters that do not print are spelled."""
    assert printable("r\u00e4ume 1") == "r\u00e4ume 1"
    assert printable("a\x00\n\ud800") == "a\\x00\\n\\ud800"


def test_what_is_cut_says_so() -> None:
    """And is never longer than asked for."""
    assert shortened("demo", 4) == "demo"
    assert shortened("demos", 4) == "dem\u2026"
