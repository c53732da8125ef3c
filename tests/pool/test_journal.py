"""The story of a room as `roompool why` tells it."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from deploy.local.ports import free_port
from pool.contract import Heard
from pool.journal import IGNORED_SHOWN, MAX_FACT_CHARS, MAX_IGNORED, Decision, DecisionLog
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


# --- what the receiver heard ----------------------------------------------------------------------------------------


def ignored(room: str = "demo", *, delivery: str = "EV_1", reason: str = "room_not_wanted") -> Heard:
    return Heard(room, delivery, "PA_1", reason)


async def test_what_was_heard_is_part_of_the_story(redis: Redis, redis_prefix: str) -> None:
    """Accepted and ignored alike, between the lines of others, by the time at which they came."""
    story = DecisionLog(redis, prefix=redis_prefix)
    await story.hear([ignored(reason="kind")])
    await story.append("demo", "arrived")
    assert await story.hear([Heard("demo", "EV_2", "PA_2"), Heard("demo", "EV_3", "PA_3", "kind", "EGRESS")])
    await story.append("demo", "claimed")

    told = await story.read("demo")
    assert [line.event for line in told if line.event != "webhook_ignored"] == ["arrived", "webhook", "claimed"]
    assert [line.facts for line in told if line.event == "webhook"] == [{"delivery": "EV_2", "participant": "PA_2"}]
    assert [line.facts for line in told if line.event == "webhook_ignored"] == [
        {"delivery": "EV_1", "participant": "PA_1", "reason": "kind"},
        {"delivery": "EV_3", "participant": "PA_3", "reason": "kind", "kind": "EGRESS"},
    ]
    times = [line.at_unix_ms for line in told]
    assert times == sorted(times)


async def test_ignored_deliveries_of_other_rooms_are_not_shown(redis: Redis, redis_prefix: str) -> None:
    """They stand in one stream, and each room sees its own: the latest few."""
    story = DecisionLog(redis, prefix=redis_prefix)
    for number in range(60):
        await story.hear([ignored("theirs"), ignored("demo", delivery=f"EV_{number}")])
    told = await story.read("demo")
    assert [line.facts["delivery"] for line in told] == [f"EV_{number}" for number in range(60 - IGNORED_SHOWN, 60)]
    assert await story.read("nobody") == []


async def test_a_flood_of_ignored_deliveries_is_bounded(redis: Redis, redis_prefix: str) -> None:
    """Rooms without number, with long names: one key, a few megabytes, a day. The stories of other rooms stay."""
    story = DecisionLog(redis, prefix=redis_prefix)
    await story.append("demo", "claimed")
    for part in range(30):
        await story.hear([ignored(f"{part}-{number}" + "x" * 4000) for number in range(1000)])
    assert sorted(await redis.keys(f"{redis_prefix}*")) == [f"{redis_prefix}ignored", f"{redis_prefix}why:demo"]
    assert MAX_IGNORED <= await redis.xlen(f"{redis_prefix}ignored") <= MAX_IGNORED + 200
    assert await redis.memory_usage(f"{redis_prefix}ignored") < 5_000_000
    assert 0 < await redis.pttl(f"{redis_prefix}ignored") <= 86_400_000
    assert [line.event for line in await story.read("demo")] == ["claimed"]
    last = "29-999" + "x" * 4000
    assert [line.facts["reason"] for line in await story.read(last)] == ["room_not_wanted"]


async def test_what_redis_refuses_of_the_heard_is_lost_and_the_rest_is_not(redis: Redis, redis_prefix: str) -> None:
    """Somebody's key of another type costs the lines that belong there."""
    await redis.set(f"{redis_prefix}why:taken", "stranger")
    story = DecisionLog(redis, prefix=redis_prefix)
    with capture_logs() as logs:
        assert not await story.hear([Heard("taken", "EV_1", "PA_1"), Heard("demo", "EV_2", "PA_2")])
    assert [line["event"] for line in logs] == ["decisions_lost"]
    assert [line.facts["delivery"] for line in await story.read("demo")] == ["EV_2"]


# --- as it goes on --------------------------------------------------------------------------------------------------


async def test_a_story_is_followed_from_where_it_was_read(redis: Redis, redis_prefix: str) -> None:
    """Each later line once, of this room alone, and nothing when nothing comes."""
    story = DecisionLog(redis, prefix=redis_prefix)
    await story.append("demo", "arrived")
    await story.hear([ignored(delivery="EV_old")])
    before, cursor = await story.read_to("demo")
    assert len(before) == 2

    new, cursor = await story.follow("demo", cursor)
    assert new == []

    await story.append("demo", "claimed")
    await story.append("other", "claimed")
    await story.hear([ignored("other"), ignored(delivery="EV_new")])
    seen: list[Decision] = []
    for _ in range(5):
        new, cursor = await story.follow("demo", cursor)
        seen += new
        if not new:
            break
    assert [(line.event, line.facts.get("delivery")) for line in seen] == [
        ("claimed", None),
        ("webhook_ignored", "EV_new"),
    ]


async def test_a_story_can_be_followed_before_it_begins(redis: Redis, redis_prefix: str) -> None:
    """Nobody has named the room yet; the first line comes, those about others do not."""
    story = DecisionLog(redis, prefix=redis_prefix)
    await story.hear([ignored("other")])
    _, cursor = await story.read_to("demo")
    await story.append("demo", "arrived")
    new, _ = await story.follow("demo", cursor)
    assert [line.event for line in new] == ["arrived"]
