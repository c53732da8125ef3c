"""Decisions of a carrier on their way into stories, on a real Valkey that stands still, dies and refuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from deploy.local.valkey import Valkey
from pool.decision_writer import STORY_BOUND, DecisionWriter
from pool.journal import Decision, DecisionLog
from pool.registry.connect import lease_redis

WRITTEN_S = 30.0


@asynccontextmanager
async def writing(url: str, prefix: str) -> AsyncIterator[tuple[DecisionWriter, DecisionLog]]:
    redis = lease_redis(url)
    story = DecisionLog(redis, prefix=prefix)
    writer = DecisionWriter("one", story)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(writer.write_forever())
        yield writer, story
        task.cancel()
    await redis.aclose()


def events(lines: list[Decision]) -> list[str]:
    return [line.event for line in lines]


@pytest.mark.parametrize("how", ["frozen", "gone"])
async def test_what_was_told_while_redis_was_away_is_read_once_and_where_it_belongs(
    how: str, valkey: Valkey, redis_prefix: str
) -> None:
    """An outage is what `hold` is told of; a Redis that stood still also runs what it was sent meanwhile."""
    async with writing(valkey.url, redis_prefix) as (writer, story):
        writer.tell("demo", "joined", {"fence": 7})
        await writer.written(limit_s=WRITTEN_S)
        if how == "frozen":
            valkey.freeze()
        else:
            valkey.kill()
        writer.tell("demo", "hold", {"was": "own"})
        await writer.written(limit_s=2.5)  # two attempts, or a refusal, and looks whether it is back
        if how == "frozen":
            valkey.thaw()
        else:
            await valkey.revive()
        await writer.written(limit_s=WRITTEN_S)
        await story.append("demo", "reaped", carrier="two")
        writer.tell("demo", "own", {"was": "hold"})
        await writer.written(limit_s=WRITTEN_S)
        lines = await story.read("demo")

    assert events(lines) == ["joined", "hold", "reaped", "own"]
    assert lines[1].facts == {"carrier": "one", "was": "own"}
    assert lines[2].at_unix_ms - lines[1].at_unix_ms > 1000


async def test_a_line_that_redis_refuses_holds_up_no_other(redis_url: str, redis_prefix: str) -> None:
    """Somebody's key of another type: that room has no story, and the others have."""
    async with writing(redis_url, redis_prefix) as (writer, story):
        redis = lease_redis(redis_url)
        await redis.set(f"{redis_prefix}why:taken", "stranger")
        await redis.aclose()
        with capture_logs() as logged:
            writer.tell("taken", "joined", {})
            writer.tell("demo", "joined", {})
            await writer.written(limit_s=WRITTEN_S)
        assert events(await story.read("demo")) == ["joined"]
    assert [(line["event"], line["room"]) for line in logged] == [("decision_lost", "taken")]


async def test_who_stops_while_redis_is_away_says_how_many_are_lost(valkey: Valkey, redis_prefix: str) -> None:
    """Nothing waits for a Redis that may never come back."""
    async with writing(valkey.url, redis_prefix) as (writer, _):
        valkey.kill()
        with capture_logs() as logged:
            for event in ("hold", "lingering", "ended"):
                writer.tell("demo", event, {})
            await writer.written(limit_s=1.0)
    assert [(line["event"], line["number"]) for line in logged] == [("decisions_unwritten", 3)]


async def test_of_too_many_the_newest_are_dropped(redis_url: str, redis_prefix: str) -> None:
    """What waits for Redis is bounded."""
    redis = lease_redis(redis_url)
    story = DecisionLog(redis, prefix=redis_prefix)
    writer = DecisionWriter("one", story)
    for number in range(STORY_BOUND + 5):
        writer.tell(f"room-{number}", "joined", {})
    async with asyncio.TaskGroup() as group:
        task = group.create_task(writer.write_forever())
        await writer.written(limit_s=WRITTEN_S)
        task.cancel()
    assert events(await story.read(f"room-{STORY_BOUND - 1}")) == ["joined"]
    assert await story.read(f"room-{STORY_BOUND}") == []
    await redis.aclose()
