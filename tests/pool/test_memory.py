"""What a call is remembered by: texts for every reader, and a writer that no call waits for."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from bridge import MAX_TURN_CHARS, MAX_TURNS, Said
from bridge.recap import MAX_RECAP_BYTES
from deploy.local.ports import free_port
from pool.contract import Arrived
from pool.memory import PENDING_BOUND, MemoryWriter, newer, to_text, turns_of
from pool.registry import Again, Grant, Rooms
from pool.registry.connect import lease_redis

ME = "carrier-1"


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("roompool_memory_dropped_total", {"reason": reason}) or 0.0


words = st.text(min_size=1, max_size=MAX_TURN_CHARS).filter(lambda text: text.strip() and text.isprintable())
saids = st.builds(Said, st.sampled_from(["caller", "agent"]), words, st.none() | st.integers(0, 10**7))


@given(st.lists(saids, max_size=8))
def test_what_is_written_is_read_again(said: list[Said]) -> None:
    """Who, what and where it was cut off, in order, also where somebody said the same twice."""
    texts = [to_text(one, fence=7, number=number) for number, one in enumerate(said)]
    assert turns_of(texts) == tuple(said)


def test_a_text_is_compact_and_bounded() -> None:
    """A long turn does not crowd out the others, and costs no more bytes than its words."""
    assert to_text(Said("caller", "grüße", 120), fence=7, number=1) == '{"v":1,"f":7,"n":1,"w":"c","t":"grüße","c":120}'
    assert turns_of([to_text(Said("agent", "x" * 9_999), fence=7, number=1)]) == (Said("agent", "x" * MAX_TURN_CHARS),)


def test_half_a_surrogate_pair_can_be_stored() -> None:
    """It comes from a peer, and is no UTF-8: the connection would refuse it."""
    to_text(Said("caller", "\ud83d"), fence=7, number=1).encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '"text"',
        "[" * 3_000,
        '{"v":2,"w":"c","t":"newer"}',
        '{"v":1,"w":"x","t":"who"}',
        '{"v":1,"w":"c","t":""}',
        '{"v":1,"w":"c","t":7}',
        '{"v":1,"w":["c"],"t":"a list"}',
        '{"w":"c","t":"no version"}',
        json.dumps({"v": 1, "w": "c", "t": "x" * 5_000}),
    ],
)
def test_what_cannot_be_read_is_dropped_and_counted(text: str) -> None:
    """Another release may have written it, or anybody: the turns around it stay."""
    before = dropped("unreadable")
    good = to_text(Said("caller", "hello"), fence=7, number=1)
    assert turns_of([text, good]) == (Said("caller", "hello"),)
    assert dropped("unreadable") == before + 1


@given(st.lists(st.text(max_size=300), max_size=6))
def test_no_text_makes_reading_fail(texts: list[str]) -> None:
    """Whatever lies in Redis."""
    turns_of(texts)


@pytest.mark.parametrize("cut", ["true", "-1", '"7"', "1.5", "null"])
def test_a_nonsensical_cut_is_no_cut(cut: str) -> None:
    """The words are worth keeping all the same."""
    assert turns_of([f'{{"v":1,"w":"a","t":"hello","c":{cut}}}']) == (Said("agent", "hello"),)


def test_newer_texts_are_those_that_were_not_there() -> None:
    """Older ones may have been dropped meanwhile."""
    texts = [to_text(Said("caller", "again"), fence=7, number=number) for number in range(4)]
    assert newer(texts[1:], than=texts[:3]) == (texts[3],)


@pytest.fixture
async def rooms(redis_url: str, redis_prefix: str) -> AsyncIterator[Rooms]:
    redis = lease_redis(redis_url)
    yield Rooms(redis, prefix=redis_prefix)
    await redis.aclose()


async def claimed(rooms: Rooms, room: str = "a") -> Grant:
    """A room that `ME` owns."""
    now = int(time.time() * 1000) + 1000  # made after Redis' data began: nobody can have owned it before
    await rooms.note(Arrived(room, f"RM_{room}", now, f"PA_{room}", now))
    grant = await rooms.claim_next(ME, capacity=9)
    assert isinstance(grant, Grant)
    return grant


async def remembered(rooms: Rooms, grant: Grant) -> list[str]:
    """The words the next owner is told."""
    return [said.text for said in turns_of(await next_memory(rooms, grant))]


async def next_memory(rooms: Rooms, grant: Grant) -> Sequence[str]:
    """The texts the next owner is told."""
    offered = await rooms.offer(ME, grant.room, grant.fence)  # nobody else is there; ours stays
    assert offered.next is None
    await rooms.release(ME, grant.room, grant.fence, Again(failed=False))
    again = await rooms.claim_next("carrier-2", capacity=9)
    assert isinstance(again, Grant)
    return again.memory


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["x"] * (MAX_TURNS + 1), MAX_TURNS),
        (["x" * (MAX_RECAP_BYTES - 1), "x"], 2),
        (["x" * MAX_RECAP_BYTES, "x"], 1),
    ],
    ids=["turns", "all bytes", "one byte more"],
)
async def test_redis_keeps_as_much_as_a_recap_holds(rooms: Rooms, texts: list[str], kept: int) -> None:
    """Its script has the two numbers written out: more would never be read, less would be missed."""
    grant = await claimed(rooms)
    await rooms.remember(ME, grant.room, grant.fence, texts)
    assert list(await next_memory(rooms, grant)) == texts[-kept:]


async def test_turns_reach_the_next_owner(rooms: Rooms) -> None:
    """In order, and each once, whatever gathered before the writer ran."""
    grant = await claimed(rooms)
    memory_writer = MemoryWriter(ME, rooms)
    for number in range(5):
        memory_writer.note(grant.room, grant.fence, Said("caller", f"turn {number}"))
    memory_writer.note(grant.room, grant.fence, Said("caller", "  "))
    assert await memory_writer.flush(grant.room, grant.fence)
    memory_writer.note(grant.room, grant.fence, Said("agent", "last"))
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(memory_writer.write_forever())
        assert await memory_writer.flush(grant.room, grant.fence)
        writer.cancel()
    assert await remembered(rooms, grant) == [*(f"turn {number}" for number in range(5)), "last"]


async def test_two_rooms_granted_under_one_fence_keep_their_words_apart(redis_url: str, redis_prefix: str) -> None:
    """Two grants of one millisecond bear the same fence (seen: two calls passed to one carrier at once)."""
    redis = lease_redis(redis_url)
    rooms = Rooms(redis, prefix=redis_prefix, now_ms=lambda: 1_700_000_000_000)
    first, second = await claimed(rooms, "a"), await claimed(rooms, "b")
    assert first.fence == second.fence
    memory_writer = MemoryWriter(ME, rooms)
    for grant in (first, second):
        memory_writer.note(grant.room, grant.fence, Said("caller", f"in room {grant.room}"))
    for grant in (first, second):
        assert await memory_writer.flush(grant.room, grant.fence)
    assert await remembered(rooms, first) == ["in room a"]
    assert await remembered(rooms, second) == ["in room b"]
    await redis.aclose()


async def test_what_redis_does_not_take_is_kept_for_later_up_to_a_bound(redis_url: str, rooms: Rooms) -> None:
    """Newest kept; the oldest go, counted; and nothing waits for it."""
    grant = await claimed(rooms)
    redis = lease_redis(f"redis://127.0.0.1:{free_port()}/0")
    memory_writer = MemoryWriter(ME, Rooms(redis))
    before = dropped("overflow")
    for number in range(PENDING_BOUND + 3):
        memory_writer.note(grant.room, grant.fence, Said("caller", f"turn {number}"))
    assert not await memory_writer.flush(grant.room, grant.fence)
    memory_writer.note(grant.room, grant.fence, Said("caller", "newest"))
    assert dropped("overflow") == before + 4
    memory_writer._rooms = rooms  # Redis is back
    assert await memory_writer.flush(grant.room, grant.fence)
    assert await remembered(rooms, grant) == [*(f"turn {number}" for number in range(4, PENDING_BOUND + 3)), "newest"]
    await redis.aclose()


async def test_a_former_owner_adds_nothing(rooms: Rooms) -> None:
    """A frozen process that wakes up late has nothing to say any more."""
    grant = await claimed(rooms)
    before = dropped("not_ours")
    memory_writer = MemoryWriter("somebody-else", rooms)
    memory_writer.note(grant.room, grant.fence, Said("caller", "late"))
    assert await memory_writer.flush(grant.room, grant.fence)
    assert dropped("not_ours") == before + 1
    assert await remembered(rooms, grant) == []


async def test_a_call_that_ended_leaves_nothing_behind(rooms: Rooms) -> None:
    """What was not written by then is counted, and the writer goes on with the others."""
    grant = await claimed(rooms)
    before = dropped("unwritten")
    memory_writer = MemoryWriter(ME, rooms)
    memory_writer.note(grant.room, grant.fence, Said("caller", "too late"))
    memory_writer.close(grant.room, grant.fence)
    assert dropped("unwritten") == before + 1
    assert await memory_writer.flush(grant.room, grant.fence)
    memory_writer.close(grant.room, grant.fence)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await memory_writer.write_forever()
    assert await remembered(rooms, grant) == []
