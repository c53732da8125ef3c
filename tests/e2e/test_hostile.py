"""Names, jobs and room states that mean harm, or cannot be read."""

import json
import re
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from pool.contract import JOB_PARTICIPANT_JOINED, JOB_VERSION, MAX_ROOM_NAME_BYTES
from pool.registry import Standing
from tests.e2e.site import PATIENCE_S, Site, message, new_room, until
from tests.webhook.deliveries import CALLER, ROOM

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

NAMES = {
    "braces": "{room}{0}%s$(id)`id`",
    "globs": "*?[a-z]!**",
    "quotes": "\"'; return redis.call('FLUSHALL') --",
    "control characters": "a\r\nb\tc\x1b[2J\x7f",
    "emoji": "🎉 ünïcödé \u202e room",
    "a key of ours": "roompool:waiting",
    "a path": "../../etc/passwd",
    "blanks": "  ",
    "as long as LiveKit takes it": "x" * 256,
}

BY_THE_WAY = re.compile(
    r"roompool:(waiting|due|reconcile|queue|queue:wake|(finished|held|memory|queue:health):[\w.-]+)"
)
"""Keys that come and go with any call."""


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
async def test_a_hostile_room_name_gets_its_agent_and_harms_nobody(calm: Site, name: str) -> None:
    """The room is served as any other, under its own keys; the call in the next room goes on under its fence."""
    bystander = new_room("bystander")
    async with calm.caller(bystander) as other:
        await other.agent_heard(PATIENCE_S)
        before = await calm.until_standing(bystander, Standing.OWNED)
        keys = await keys_of(calm)
        async with calm.caller(name) as caller:
            await caller.agent_heard(PATIENCE_S)
            state = await calm.until_standing(name, Standing.OWNED)
            assert state.room == name
            assert (await calm.ask("why", name, "--json"))["room"] == name
            new = {key for key in await keys_of(calm) - keys if not BY_THE_WAY.fullmatch(key)}
            assert new <= {f"roompool:room:{name}", f"roompool:why:{name}"}
        after = await calm.until_standing(bystander, Standing.OWNED)
        assert (after.owner, after.fence, after.callers) == (before.owner, before.fence, before.callers)
        assert len(other.witness.stays) == 1


async def test_the_longest_name_changes_nothing_but_its_own_keys(rough: Site) -> None:
    """A signed webhook with a name of 4 KiB is taken and one of more is ignored; LiveKit lets nobody into such a room,
    that call ends in one line, and the worker serves the next room meanwhile."""
    longest, served = "n" * MAX_ROOM_NAME_BYTES, new_room("served")
    facts = {**ROOM, "name": longest, "sid": "RM_longest", "creationTimeMs": str(int(time.time() * 1000))}
    async with rough.hire() as (worker,):
        assert await rough.post(message("participant_joined", facts, CALLER)) == 200
        assert await rough.post(message("participant_joined", {**facts, "name": longest + "n"}, CALLER)) == 204
        async with rough.caller(served) as caller:
            await caller.agent_heard(PATIENCE_S)
        assert await rough.look(longest + "n") is None
        ended = await worker.wait_event("call_ended", room=longest, timeout_s=60)
        assert ended.facts["ending"] == "room_refused"
        assert await rough.post(message("room_finished", facts)) == 200


async def test_jobs_that_cannot_be_read_are_set_aside(rough: Site) -> None:
    """Garbage and a job of a newer release are counted and kept for a person; the next caller is served."""
    newer: dict[str, Any] = {
        "t": None,
        "f": JOB_PARTICIPANT_JOINED,
        "a": [{"v": JOB_VERSION + 1, "room": "r", "sid": "s"}],
        "k": {},
        "et": int(time.time() * 1000),
    }
    async with rough.hire() as (worker,), rough.redis() as redis:
        await enqueue(redis, "garbage", b"\x80\x04 no JSON")
        await enqueue(redis, "newer", json.dumps(newer).encode())
        async with rough.caller(new_room("served")) as caller:
            await caller.agent_heard(PATIENCE_S)

        async def counted() -> bool:
            series = await rough.metrics(worker)
            reasons = ("malformed", "newer_version")
            return all(series.get(f'roompool_jobs_set_aside_total{{reason="{why}"}}') == 1 for why in reasons)

        await until(counted, "both jobs set aside")
        assert await redis.zmscore("roompool:queue", ["garbage", "newer"]) == [None, None]
        assert {line.facts["reason"] for line in worker.events("job_set_aside")} >= {"malformed", "newer_version"}


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"v": "1", "sid": "RM_x", "created": "yesterday"}, id="corrupt"),
        pytest.param({"v": "2", "sid": "RM_x", "created": "1"}, id="of a newer release"),
    ],
)
async def test_a_room_state_that_cannot_be_read_is_set_aside(calm: Site, state: dict[str, str]) -> None:
    """It is counted and kept, it stands in nobody's way, and its own room begins anew with its caller."""
    broken, served = new_room("broken"), new_room("served")
    before = (await calm.counters()).get("set_aside_rooms", 0)
    async with calm.redis() as redis:
        await redis.hset(f"roompool:room:{broken}", mapping=state)  # type: ignore[misc]
        await redis.zadd("roompool:waiting", {broken: 0})
        async with calm.caller(served) as caller:
            await caller.agent_heard(PATIENCE_S)
        assert (await calm.counters())["set_aside_rooms"] == before + 1
        assert await redis.hgetall(f"roompool:set_aside:{broken}") == state  # type: ignore[misc]
    async with calm.caller(broken) as caller:
        await caller.agent_heard(PATIENCE_S)


async def keys_of(site: Site) -> set[str]:
    async with site.redis() as redis:
        return {key async for key in redis.scan_iter("roompool:*")}


async def enqueue(redis: Redis, job: str, raw: bytes) -> None:
    """Put a job into the queue as whoever can write to Redis might."""
    await redis.set(f"arq:job:{job}", raw, px=60_000)
    await redis.zadd("roompool:queue", {job: time.time() * 1000})
    await redis.rpush("roompool:queue:wake", job)  # type: ignore[misc]
