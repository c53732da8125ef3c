"""More callers than slots."""

import pytest

from pool.registry import Standing
from tests.e2e.site import PATIENCE_S, Site, new_room

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]


async def test_a_full_pool_serves_who_has_waited_longest_and_is_still_there(rough: Site) -> None:
    """With one slot the second and third caller wait, visibly; the second gives up, and the third is next.

    The one who gave up is never served, and the slot is never given twice.
    """
    rooms = [new_room(word) for word in ("first", "second", "third")]
    async with rough.hire(ROOMPOOL_CAPACITY="1"), rough.caller(rooms[0]) as first:
        await first.agent_heard(PATIENCE_S)
        async with rough.caller(rooms[1]) as second:
            await rough.until_standing(rooms[1], Standing.WAITING)
            async with rough.caller(rooms[2]) as third:
                await rough.until_standing(rooms[2], Standing.WAITING)
                listed = (await rough.ask("ps", "--json"))["rooms"]
                waiting = [one["room"] for one in listed if one["standing"] == "waiting"]
                assert [room for room in waiting if room in rooms] == rooms[1:]
                assert (second.witness.stays, third.witness.stays) == ((), ())
                await second.hang_up()
                await rough.until_standing(rooms[1], Standing.ABSENT)
                await first.hang_up()
                await third.agent_heard(PATIENCE_S)
                assert third.witness.agents_max == 1
    assert [len(rough.claims(room)) for room in rooms] == [1, 0, 1]
