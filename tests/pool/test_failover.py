"""Leases through a failover: real redis-servers under real sentinels, with and without the last grant replicated."""

import asyncio
import time

import pytest

from deploy.local.sentinel import SentinelSet
from pool.client import PoolClient, PoolUnreachable
from pool.contract import Arrived, Note
from pool.registry import Grant, Renewal
from tests.pool.holder import Holder, Woken

pytestmark = [pytest.mark.redis_server, pytest.mark.timeout(120)]

FAILOVER_S = 20.0
"""It takes some two; the machine may be busy."""


def arrival(room: str) -> Note:
    now = int(time.time() * 1000)
    return Arrived(room, f"RM_{room}", now, participant_sid=f"PA_{room}", joined_unix_ms=now)


async def submit(client: PoolClient, room: str) -> None:
    """As LiveKit does: again until it is taken."""
    note = arrival(room)
    async with asyncio.timeout(FAILOVER_S):
        while True:
            try:
                await client.submit(note)
                return
            except PoolUnreachable:
                await asyncio.sleep(0.1)


async def claimed(holder: Holder) -> Grant:
    """Claim the room that there must be soon."""
    async with asyncio.timeout(FAILOVER_S):
        while True:
            if (grant := await holder.claim()) is not None:
                return grant
            await asyncio.sleep(0.05)


async def answered(holder: Holder) -> None:
    """Renew as a carrier does until Redis has answered once."""
    async with asyncio.timeout(FAILOVER_S):
        while True:
            if await holder.renew():
                return
            await asyncio.sleep(0.1)


async def test_owners_keep_their_rooms_through_a_failover(sentinels: SentinelSet) -> None:
    """The primary is killed in the middle of calls: each lease goes on under its fence, nobody else is granted one of
    these rooms while the others look for work all the time, and who arrives meanwhile is served."""
    url = sentinels.url
    async with Holder.of(url, "one") as one, Holder.of(url, "two") as two, PoolClient.open(url) as client:
        for room in ("a", "b", "c"):
            await submit(client, room)
            await claimed(one)
        before = dict(one.grants)
        await sentinels.in_step()
        was = sentinels.master_port
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            loops = [
                group.create_task(loop) for loop in (one.renew_forever(), two.renew_forever(), two.claim_forever())
            ]
            await one.renewed.wait()
            sentinels.kill_master()
            await sentinels.failed_over(from_port=was, within_s=FAILOVER_S)
            one.renewed.clear()
            await submit(client, "later")
            await two.granted.get()
            for _ in range(5):  # past a lease and its grace
                await one.renewed.wait()
                one.renewed.clear()
            for loop in loops:
                loop.cancel()
    assert one.failures, "nothing was noticed of the failover"
    assert (one.grants, one.lost) == (before, [])
    assert [grant.room for grant in two.ever] == ["later"]


async def test_the_queue_goes_on_with_the_next_primary(sentinels: SentinelSet) -> None:
    """A worker that waited for a token at the old one is woken by a job that comes afterwards."""
    stop = asyncio.Event()
    async with Holder.of(sentinels.url, "one") as one, PoolClient.open(sentinels.url) as client:
        woken = Woken(one)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(woken.run(sentinels.url, stop))
            await submit(client, "a")
            await woken.woke.wait()
            woken.woke.clear()
            await fail_over(sentinels)
            await submit(client, "b")
            await woken.woke.wait()
            stop.set()


async def test_a_grant_that_was_not_replicated_may_be_given_twice_until_its_owner_renews(
    sentinels: SentinelSet,
) -> None:
    """The next primary has never heard of it and gives the room to somebody else, under a greater fence; the first
    renewal of the former owner says that it lost, and it stays so."""
    async with Holder.of(sentinels.url, "one") as one, Holder.of(sentinels.url, "two") as two:
        first = await unreplicated_grant(sentinels, one)
        second = await claimed(two)
        assert (second.room, second.sid) == (first.room, first.sid)
        assert second.fence > first.fence
        await answered(one)
        assert one.lost == [("demo", Renewal.LOST)]
        await answered(two)
        assert (two.lost, list(two.grants)) == ([], ["demo"])
        assert await one.claim() is None
        state = await two.rooms.look("demo")
        assert state is not None
        assert (state.owner, state.fence) == ("two", second.fence)


async def test_an_owner_that_renews_first_keeps_a_grant_that_was_not_replicated(sentinels: SentinelSet) -> None:
    """Nobody was granted the room in between: its word is good, and others get nothing."""
    async with Holder.of(sentinels.url, "one") as one, Holder.of(sentinels.url, "two") as two:
        first = await unreplicated_grant(sentinels, one)
        await answered(one)
        assert one.lost == []
        assert await two.claim() is None
        state = await one.rooms.look("demo")
        assert state is not None
        assert (state.owner, state.fence) == ("one", first.fence)


async def test_a_room_that_no_replica_heard_of_is_re_established_by_its_owner(sentinels: SentinelSet) -> None:
    """The caller's arrival is lost with the grant: the owner's renewal brings both back."""
    async with Holder.of(sentinels.url, "one") as one, Holder.of(sentinels.url, "two") as two:
        await one.rooms.due()
        await sentinels.in_step()
        sentinels.pause_replication()
        await one.rooms.note(arrival("demo"))
        first = await claimed(one)
        await fail_over(sentinels)
        await answered(one)
        assert await two.claim() is None
        state = await one.rooms.look("demo")
        assert state is not None
        assert (state.owner, state.fence, list(state.callers)) == ("one", first.fence, ["PA_demo"])


async def unreplicated_grant(sentinels: SentinelSet, holder: Holder) -> Grant:
    """A failover after which the new primary knows the caller who waits, and not that the holder was granted her."""
    await holder.rooms.note(arrival("demo"))
    await sentinels.in_step()
    sentinels.pause_replication()
    grant = await claimed(holder)
    await fail_over(sentinels)
    return grant


async def fail_over(sentinels: SentinelSet) -> None:
    was = sentinels.master_port
    sentinels.kill_master()
    await sentinels.failed_over(from_port=was, within_s=FAILOVER_S)
