"""`roompool ps`, `hangup` and `drain` against workers that carry calls."""

import asyncio
import secrets
from typing import Any

import pytest

from deploy.local.processes import Child
from pool.registry import Standing
from tests.e2e.site import PATIENCE_S, Site, new_room, until

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]


async def run(site: Site, *words: str) -> Child:
    """A verb of `roompool`, in a process of its own."""
    return await site.stack.run(f"verb-{secrets.token_hex(3)}", words)


async def worker_of(site: Site, room: str) -> dict[str, Any]:
    """The worker that holds a room, as `ps` has it."""
    seen = await site.ask("ps", "--json")
    (owner,) = [one["owner"] for one in seen["rooms"] if one["room"] == room]
    (worker,) = [one for one in seen["workers"] if owner in one["carriers"]]
    return dict(worker)


async def test_hangup_ends_the_call_and_the_room_rests(calm: Site) -> None:
    """The agent is out of the room and its voice session ended when the command returns; a new caller gets an agent."""
    room = new_room("hangup")
    async with calm.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        answer = await calm.ask("hangup", room, "--json")
        assert answer == {"room": room, "answer": "asked", "is_over": True}
        await calm.until_no_agent(room)
        (voice,) = await calm.until_voice_ended(room)
        assert voice["violations"] == {}
        await calm.until_standing(room, Standing.RESTED)
        ended = [line for line in await calm.story(room) if line.event == "ended"]
        assert [line.facts["ending"] for line in ended] == ["hung_up"]
        assert "as a person asked" in (await calm.ask("why", room, "--json"))["sentence"] or ended
        async with calm.caller(room) as other:
            await other.agent_heard(PATIENCE_S)


async def test_hangup_of_a_room_that_nobody_is_in_is_status_1(calm: Site) -> None:
    """With one line that says so."""
    child = await run(calm, "hangup", new_room("nobody"))
    assert await child.wait_ended(timeout_s=PATIENCE_S) == 1
    assert "nobody is known to be in" in child.out.read_text()


async def test_ps_shows_each_worker_with_its_calls(calm: Site) -> None:
    """The two of the deployment, and which of them carries this call."""
    room = new_room("ps")
    async with calm.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        seen = await calm.ask("ps", "--json")
        assert [one["state"] for one in seen["workers"]] == ["serving", "serving"]
        worker = await worker_of(calm, room)
        assert worker["leases"] >= 1
        child = await run(calm, "ps")
        assert await child.wait_ended(timeout_s=PATIENCE_S) == 0
        text = child.out.read_text()
        assert room in text
        assert worker["id"] in text


async def test_a_drained_worker_hands_its_call_over_and_stays_idle(rough: Site) -> None:
    """`drain --wait` returns when the call has gone to the other worker; the drained one runs on and takes no call."""
    room, new = new_room("drained"), new_room("new")
    async with rough.hire(1, ROOMPOOL_HANDOVER_AFTER_S="0") as (first,), rough.caller(room) as caller:
        await caller.agent_heard(PATIENCE_S)
        async with rough.hire() as (second,):
            worker = await worker_of(rough, room)
            asked_at = asyncio.get_running_loop().time()
            answer = await rough.ask("drain", worker["id"], "--wait", "--limit-s", "60", "--json")
            assert answer["is_empty"] is True
            await caller.agent_seen(PATIENCE_S, since=asked_at)
            assert first.exit_code is None
            assert (await worker_of(rough, room))["id"] != worker["id"]
            assert caller.witness.overlap_s() == 0

            async def is_drained() -> bool:
                workers = (await rough.ask("ps", "--json"))["workers"]
                return "drained" in [one["state"] for one in workers if one["id"] == worker["id"]]

            await until(is_drained, "the drained worker in `ps`")
            async with rough.caller(new) as other:
                await other.agent_heard(PATIENCE_S)
                by, _ = await rough.claimed(new, [first, second])
                assert by is second
                await other.hang_up()
            events = [line.event for line in await rough.story(room)]
            steps = [events.index(step) for step in ("offered", "standing_by", "passed")]
            assert steps == sorted(steps), events
            await caller.hang_up()


async def test_drain_of_a_worker_that_there_is_not_is_status_1(calm: Site) -> None:
    """Nobody is told anything."""
    child = await run(calm, "drain", "no-such-worker")
    assert await child.wait_ended(timeout_s=PATIENCE_S) == 1
    assert "no worker is called no-such-worker" in child.log.read_text()
