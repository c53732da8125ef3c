"""What the receiver says in rooms' stories, and that it costs no delivery anything."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pool.client import PoolUnreachable
from pool.contract import Heard
from tests.webhook.deliveries import body_of, message
from tests.webhook.receiver import Ledger, Receiving, receiving
from webhook.story_writer import WAITING_BOUND, StoryWriter

JOIN = body_of(message("participant_joined"))
HEARD = Heard("demo", "EV_1", "PA_caller1")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def receiver(ledger: Ledger) -> AsyncIterator[Receiving]:
    async with receiving(ledger, rooms=("demo",)) as running:
        yield running


async def next_told(ledger: Ledger) -> Heard:
    async with asyncio.timeout(20):
        return await ledger.told.get()


async def test_an_accepted_join_is_told(receiver: Receiving, ledger: Ledger) -> None:
    """With LiveKit's id of the delivery, so that a repetition can be seen, and without who it was."""
    await receiver.post(JOIN)
    await receiver.post(JOIN)
    assert [await next_told(ledger), await next_told(ledger)] == [HEARD, HEARD]


@pytest.mark.parametrize(
    ("changes", "heard"),
    [
        ({"room": {"name": "other"}}, Heard("other", "EV_1", "PA_caller1", "room_not_wanted")),
        ({"participant": {"identity": "voice-agent"}}, Heard("demo", "EV_1", "PA_caller1", "own_agent")),
        ({"participant": {"kind": "EGRESS"}}, Heard("demo", "EV_1", "PA_caller1", "kind", "EGRESS")),
        ({"participant": {"kind": 99}}, Heard("demo", "EV_1", "PA_caller1", "kind", "UNKNOWN_99")),
        ({"participant": {"permission": {}}}, Heard("demo", "EV_1", "PA_caller1", "may_not_publish")),
    ],
    ids=str,
)
async def test_an_ignored_join_is_told_with_its_rule(
    receiver: Receiving, ledger: Ledger, changes: dict[str, dict[str, object]], heard: Heard
) -> None:
    """So that whoever asks why there is no agent learns by which rule."""
    assert (await receiver.post(body_of(message("participant_joined", **changes)))).status_code == 204
    assert await next_told(ledger) == heard


@pytest.mark.parametrize("event", ["participant_left", "room_finished", "room_started", "track_published"])
async def test_other_events_are_not_told(receiver: Receiving, ledger: Ledger, event: str) -> None:
    """The registry tells of those that change something."""
    await receiver.post(body_of(message(event)))
    await receiver.post(JOIN)
    assert await next_told(ledger) == HEARD
    assert ledger.told.empty()


async def test_a_join_that_redis_did_not_take_is_not_told() -> None:
    """LiveKit repeats it."""
    ledger = Ledger(failure=PoolUnreachable("TimeoutError"))
    async with receiving(ledger, rooms=("demo",)) as receiver:
        assert (await receiver.post(JOIN)).status_code == 503
    assert ledger.told.empty()


async def test_a_story_that_cannot_be_written_costs_no_delivery_anything(ledger: Ledger) -> None:
    """Redis takes for ever over a line: every delivery is answered as ever."""
    ledger.tells.clear()
    async with receiving(ledger, rooms=("demo",)) as receiver:
        body = body_of(message("participant_joined", room={"name": "other"}))
        for _ in range(50):
            assert (await receiver.post(body)).status_code == 204
        assert (await receiver.post(JOIN)).status_code == 200
        assert ledger.told.empty()
        ledger.tells.set()


async def test_lines_are_bounded_and_the_newest_go() -> None:
    """A flood is held in so many lines, whatever Redis does."""
    lost: list[int] = []
    writer = StoryWriter(on_dropped=lost.append)
    for number in range(WAITING_BOUND + 7):
        writer.add(Heard("demo", f"EV_{number}", "PA_1"))
    assert sum(lost) == 7

    ledger = Ledger()
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(writer.write_forever(ledger))
        await writer.written(limit_s=5)
        telling.cancel()
    assert ledger.told.qsize() == WAITING_BOUND
    assert (await ledger.told.get()).delivery == "EV_0"


async def test_a_line_that_redis_does_not_take_is_counted() -> None:
    """And never tried again: the next ones would wait for it."""
    lost: list[int] = []
    writer = StoryWriter(on_dropped=lost.append)
    writer.add(HEARD)
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(writer.write_forever(Ledger(failure=PoolUnreachable("away"))))
        await writer.written(limit_s=5)
        telling.cancel()
    assert lost == [1]


async def test_waiting_for_the_last_lines_has_an_end(ledger: Ledger) -> None:
    """A receiver that stops does not wait for a Redis that is away."""
    ledger.tells.clear()
    writer = StoryWriter()
    writer.add(HEARD)
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(writer.write_forever(ledger))
        await writer.written(limit_s=0.1)
        assert ledger.told.empty()
        telling.cancel()
