"""The story of a room as `roompool why` tells it."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from deploy.local.ports import free_port
from pool.journal import MAX_FACT_CHARS, DecisionLog
from pool.registry import Times
from pool.registry.connect import lease_redis


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = lease_redis(redis_url)
    yield client
    await client.aclose()


async def test_lines_come_back_in_order_with_their_facts(redis: Redis, redis_prefix: str) -> None:
    """What was appended is read, oldest first, each with the time Redis gave it."""
    story = DecisionLog(redis, prefix=redis_prefix)

    await story.append("demo", "joined", took_ms=312, fence=5)
    await story.append("demo", "ended", outcome="caller_left", clean=True, reason=None)

    lines = await story.read("demo")
    assert [(line.event, line.facts) for line in lines] == [
        ("joined", {"took_ms": "312", "fence": "5"}),
        ("ended", {"outcome": "caller_left", "clean": "true", "reason": "null"}),
    ]
    assert 1_500_000_000_000 < lines[0].at_unix_ms <= lines[1].at_unix_ms


async def test_an_unknown_room_has_no_story(redis: Redis, redis_prefix: str) -> None:
    """Nothing is made by asking."""
    assert await DecisionLog(redis, prefix=redis_prefix).read("nobody") == []
    assert await redis.keys("*") == []


async def test_a_story_is_bounded_and_expires(redis: Redis, redis_prefix: str) -> None:
    """About as many lines as `Times` says, each of bounded size, for a day after the last."""
    story = DecisionLog(redis, prefix=redis_prefix, times=Times(why_entries=100))

    for number in range(300):
        await story.append("demo", "turn", number=number, text="x" * 5000)

    lines = await story.read("demo")
    assert 100 <= len(lines) <= 200  # Redis trims whole nodes of 100
    assert lines[-1].facts["number"] == "299"
    assert len(lines[-1].facts["text"]) == MAX_FACT_CHARS
    assert 0 < await redis.pttl(f"{redis_prefix}why:demo") <= 86_400_000


async def test_a_line_redis_refuses_is_told_and_logged(redis: Redis, redis_prefix: str) -> None:
    """A call is never hurt by its log: an error reply costs the line."""
    await redis.set(f"{redis_prefix}why:demo", "stranger")
    story = DecisionLog(redis, prefix=redis_prefix)

    with capture_logs() as logs:
        assert not await story.append("demo", "joined")

    assert [(line["event"], line["decision"], line["reason"]) for line in logs] == [
        ("decision_lost", "joined", "ResponseError")
    ]


async def test_a_line_for_a_redis_that_is_away_is_told_and_logged() -> None:
    """The same when nobody listens."""
    client = lease_redis(f"redis://127.0.0.1:{free_port()}/0")
    story = DecisionLog(client)

    with capture_logs() as logs:
        assert not await story.append("demo", "joined")

    assert [line["reason"] for line in logs] == ["ConnectionError"]
    await client.aclose()
