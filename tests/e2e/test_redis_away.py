"""Redis comes back, with its data or without, or does not answer for a while: calls go on as if nothing had been."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
import pytest_asyncio

from bridge.caller.caller import Caller
from bridge.caller.wav import hello
from deploy.local.stack import Stack, StackOptions
from deploy.local.valkey import Valkey
from pool.registry import Standing
from tests.e2e.site import PATIENCE_S, Site, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

AWAY_S = 8.0
"""Long past every lease, and past the time that a failover takes."""

PAUSE_S = 4.0
"""Pauses between sentences are shorter; whoever had lost the lease would be mute for five of the eight seconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory, settings: Mapping[str, str]) -> AsyncIterator[Site]:
    """Two workers and a Redis that nobody else leans on."""
    options = StackOptions(run_dir=tmp_path_factory.mktemp("redis-away"), workers=2, settings=settings)
    async with Stack.start(options) as stack, Site.on(stack) as site:
        yield site


@pytest.fixture
def valkey(site: Site) -> Valkey:
    assert isinstance(site.stack.redis, Valkey)
    return site.stack.redis


@pytest.mark.parametrize("keep_data", [True, False], ids=["with its data", "without its data"])
async def test_calls_outlive_a_restart_of_redis(site: Site, valkey: Valkey, keep_data: bool) -> None:
    """Each room keeps its carrier, its fence and its agent, and a caller who comes afterwards is served."""
    rooms = [new_room("restart-a"), new_room("restart-b")]
    async with site.caller(rooms[0]) as one, site.caller(rooms[1]) as two:
        for caller in (one, two):
            await caller.agent_heard(PATIENCE_S)
        before = await owners(site, rooms)
        await valkey.restart(keep_data=keep_data)
        assert await owners(site, rooms) == before
        await newcomer_is_served(site)
        await talk(one)
        await talk(two)
        assert await owners(site, rooms) == before
        undisturbed(one, two)
    assert [len(site.claims(room)) for room in rooms] == [1, 1]


@pytest.mark.parametrize("how", ["frozen", "gone"])
async def test_calls_go_on_while_redis_is_away(site: Site, valkey: Valkey, how: str) -> None:
    """For 8 s no lease can be renewed: the agent goes on speaking, and afterwards the room is still its own."""
    room = new_room(f"away-{how}")
    loop = asyncio.get_running_loop()
    async with site.caller(room) as caller:
        await site.speak_long(caller)
        before = await owners(site, [room])
        away_at = loop.time()
        if how == "frozen":
            valkey.freeze()
        else:
            valkey.kill()
        await caller.stay(AWAY_S)
        back_at = loop.time()
        if how == "frozen":
            valkey.thaw()
        else:
            await valkey.revive()
        assert caller.witness.gaps(away_at, back_at, min_s=PAUSE_S) == ()
        assert await owners(site, [room]) == before

        async def is_told() -> bool:
            return any(line.event == "hold" for line in await site.story(room))

        await until(is_told, "that its carrier went on without Redis")
        await newcomer_is_served(site)
        await talk(caller)
        assert await owners(site, [room]) == before
        undisturbed(caller)
    assert len(site.claims(room)) == 1


async def owners(site: Site, rooms: Sequence[str]) -> list[tuple[str | None, int]]:
    """Carrier and fence of each room, once Redis knows them."""
    states = [await site.until_standing(room, Standing.OWNED) for room in rooms]
    return [(state.owner, state.fence) for state in states]


async def talk(caller: Caller) -> None:
    """The agent answers; whatever it is saying meanwhile is let be or interrupted."""
    asked = await caller.say(hello())
    await caller.until_agent_audible(PATIENCE_S, since=asked.ended_at)


async def newcomer_is_served(site: Site) -> None:
    async with site.caller(new_room("newcomer")) as caller:
        await caller.agent_heard(PATIENCE_S)


def undisturbed(*callers: Caller) -> None:
    """Each caller has seen one agent, all along."""
    for caller in callers:
        assert len(caller.witness.stays) == 1
        assert len(caller.witness.present) == 1
