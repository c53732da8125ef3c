"""Room names are whatever a stranger chose. They change their own keys, and nobody else's."""

import pytest

from pool.registry import Again, Gone, HangUp, Rested
from tests.pool.registry.world import World, held

NAMES = {
    "4 KiB": "x" * 4096,
    "4 KiB of three bytes each": "\u20ac" * 1365,
    "control characters": "".join(chr(code) for code in range(32)) + "\x7f\x1b[2J",
    "NUL": "a\x00b",
    "line breaks": "a\r\nDEL roompool:waiting\r\n",
    "hash tag": "{victim}",
    "glob": "*",
    "glob set": "[a-z]?\\",
    "quotes": "\"'`]]--",
    "JSON": '{"room":"victim"}',
    "Lua": "'..redis.call('FLUSHALL')..'",
    "format": "%s%d%n%.0f",
    "key of ours": "victim:waiting",
    "empty": "",
    "a number": "1e999",
    "emoji": "\U0001f600\u202e\u0301",
    "lone surrogate": "\ud800",
}

OWN = ("room:", "why:", "set_aside:")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_a_name_changes_its_own_keys_alone(world: World, name: str) -> None:
    """A whole life of the room, through every verb, leaves a neighbour's and everybody's keys as they were."""
    await world.arrive("victim", sid="RM_victim")
    neighbour = await world.claim("neighbour")
    await world.arrive("*", sid="RM_star") if name != "*" else None
    await world.claim("neighbour") if name != "*" else None
    before = await world.snapshot(without=("alive", "counters"))

    sid = "RM_hostile"
    await world.arrive(name, sid=sid)
    grant = await world.claim()
    stored = name.encode(errors="backslashreplace").decode()
    assert grant.room == stored
    assert [str(answer) for answer in await world.rooms.renew("one", [held(grant)])] == ["Renewal.MINE"]
    assert await world.rooms.release("one", name, grant.fence, Again(failed=True))
    grant = await world.claim()
    assert await world.rooms.release("one", grant.room, grant.fence, Rested({"PA_1": 1}))
    await world.arrive(name, sid=sid, who="PA_2")
    grant = await world.claim()
    assert await world.rooms.release("one", name, grant.fence, Gone(grant.callers))
    assert await world.rooms.look(name) is not None
    await world.arrive(name, sid=sid, who="PA_3")
    grant = await world.claim()
    assert await world.rooms.remember("one", name, grant.fence, ["a"])
    taken = await world.passed(grant)
    assert taken.room == stored
    assert await world.rooms.hangup(name) is HangUp.ASKED
    assert await world.carriers.reap("two") == [stored]
    assert not await world.rooms.stray(name, sid, "PA_agent", None)
    await world.leave(name, sid=sid, who="PA_3")
    assert await world.rooms.unowned([(name, sid)]) == [True]
    assert not await world.rooms.retry(name)
    await world.story.append(name, "joined", took_ms=5)
    assert "joined" in [line.event for line in await world.decisions(name)]
    await world.rooms.rooms()
    await world.leave(name, sid=sid)
    await world.finish(name, sid=sid)
    await world.redis.set(world.key(f"room:{name}"), "corrupt")
    assert await world.rooms.look(name) is None

    own = {kind + stored for kind in OWN} | {f"finished:{sid}"}
    carriers = {"carriers", "carrier:two", f"stray:{sid}:PA_agent", f"passed:two:{stored}:{grant.fence}"}
    after = await world.snapshot(without=("alive", "counters"))
    assert {key: content for key, content in after.items() if key not in own | carriers} == before
    assert own - {"room:" + stored} <= set(after)
    assert neighbour.room == "victim"
