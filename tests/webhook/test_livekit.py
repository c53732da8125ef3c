"""The receiver behind a real livekit-server: what we expect of its deliveries is what it sends."""

import asyncio
import time
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from bridge.caller.caller import Caller
from deploy.local.livekit_server import LiveKitKeys, LiveKitServer
from pool.contract import Arrived, Finished, Left
from tests.webhook.deliveries import KEY, SECRET
from tests.webhook.receiver import Ledger, receiving
from webhook.app import PATH
from webhook.talk import PageOptions, caller_token

pytestmark = pytest.mark.livekit

SomeNote = TypeVar("SomeNote", Arrived, Left, Finished)


async def next_note(ledger: Ledger, kind: type[SomeNote]) -> SomeNote:
    async with asyncio.timeout(20):
        note = await ledger.coming.get()
    assert isinstance(note, kind)
    return note


async def test_a_real_call_is_an_arrival_a_leave_and_an_end() -> None:
    """A caller with the talk page's token comes and goes; every delivery of the server is believed and understood."""
    ledger = Ledger()
    keys = LiveKitKeys(KEY, SECRET)
    with capture_logs() as lines:
        async with (
            receiving(ledger) as receiver,
            LiveKitServer(
                keys=keys, webhook_urls=[f"http://127.0.0.1:{receiver.port}{PATH}"], departure_timeout_s=1
            ) as server,
        ):
            page = PageOptions(livekit_url=server.url, api_key=KEY, api_secret=SECRET)
            token = caller_token(page, room="demo {*}", identity="anna", now_s=int(time.time()))
            async with Caller(server.url, room="demo {*}", token=token):
                arrived = await next_note(ledger, Arrived)
            left = await next_note(ledger, Left)
            finished = await next_note(ledger, Finished)
    assert arrived.room == left.room == finished.room == "demo {*}"
    assert arrived.sid == left.sid == finished.sid
    assert arrived.participant_sid == left.participant_sid
    assert 0 <= arrived.joined_unix_ms - arrived.created_unix_ms < 20_000
    assert abs(arrived.joined_unix_ms - time.time() * 1000) < 60_000
    told = [(line["livekit_event"], line["outcome"]) for line in lines if line["event"] == "delivery"]
    assert told == [
        ("room_started", "ignored"),
        ("participant_joined", "accepted"),
        ("participant_left", "accepted"),
        ("room_finished", "accepted"),
    ]
