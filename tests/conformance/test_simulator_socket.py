"""The simulator over a real socket, with a plain WebSocket client and frames written from the published protocol."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pybase64
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from bridge.simulator import Faults, Profile, Running, Simulator, SimulatorOptions
from tests.conformance.virtual import silence, voice

KEY = {"Authorization": "Bearer any-key"}
QUICK = SimulatorOptions(onset_ms=200, barge_in_ms=300, endpoint_ms=300, lead_silence_ms=50)
LIMIT_S = 10.0


@pytest.fixture
async def quick() -> AsyncIterator[Running]:
    """A simulator with a quick partner that gives long answers."""
    async with Simulator(QUICK, Faults(long_reply=True)).serve() as running:
        yield running


async def tell(socket: ClientConnection, kind: str, **facts: object) -> None:
    """Send one message."""
    await socket.send(json.dumps({"type": kind, **facts}))


async def hear(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of a kind; what comes before it is dropped."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if message["type"] == kind:
                return message


async def play(socket: ClientConnection, pcm: bytes) -> None:
    """Send audio at real time in chunks of 50 ms."""
    started_at = time.monotonic()
    for start in range(0, len(pcm), 2400):
        await asyncio.sleep(started_at + start / 48_000 - time.monotonic())
        await tell(socket, "input.audio", audio=pybase64.b64encode(pcm[start : start + 2400]).decode())


async def test_a_session_from_open_to_end(quick: Running) -> None:
    """Update, ready, greeting, end, 1000: and the report says that all was well."""
    async with connect(quick.url, additional_headers=KEY) as socket:
        await tell(socket, "session.update", session={"greeting": "Hello.", "output": {"voice": "alba"}})
        ready = await hear(socket, "session.ready")
        started = await hear(socket, "reply.started")
        audio = await hear(socket, "reply.audio")
        assert audio["reply_id"] == started["reply_id"]
        assert len(pybase64.b64decode(audio["data"])) == 480
        await tell(socket, "session.end")
        await hear(socket, "session.ended")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1000
    await quick.until(lambda sessions: sessions[0].ending is not None)
    (report,) = quick.sessions()
    assert report.session_id == ready["session_id"]
    assert report.ended_by_session_end
    assert report.violations == {}
    assert report.client_messages == {"session.update": 1, "session.end": 1}


async def test_frames_arrive_at_real_time(quick: Running) -> None:
    """No frame comes before its time."""
    async with connect(quick.url, additional_headers=KEY) as socket:
        asked_at = time.monotonic()
        await tell(socket, "session.update", session={"greeting": "Hello."})
        for number in range(200):
            await hear(socket, "reply.audio")
            early_s = number * 0.01 - (time.monotonic() - asked_at)
            assert early_s <= 0, "late would be the machine's doing, early is the simulator's"


async def test_a_barge_in_stops_the_frames(quick: Running) -> None:
    """After `reply.done` interrupted no frame of that reply arrives."""
    async with connect(quick.url, additional_headers=KEY) as socket:
        await tell(socket, "session.update", session={})
        await hear(socket, "session.ready")
        async with asyncio.TaskGroup() as group:
            group.create_task(play(socket, voice(400) + silence(1200) + voice(800) + silence(200)))
            await hear(socket, "input.speech.stopped")
            reply = await hear(socket, "reply.started")
            await hear(socket, "input.speech.started")
            cut = await hear(socket, "transcript.agent")
            done = await hear(socket, "reply.done")
        assert cut["interrupted"] is True
        assert (done["status"], done["reply_id"]) == ("interrupted", reply["reply_id"])
        await tell(socket, "session.end")
        async with asyncio.timeout(LIMIT_S):
            late = [json.loads(raw) async for raw in socket]
        assert [message for message in late if message.get("reply_id") == reply["reply_id"]] == []


async def test_live_a_bad_key_is_told_after_the_upgrade(quick: Running) -> None:
    """The socket opens, the error comes unasked, and 1008 closes it."""
    async with connect(quick.url, additional_headers={"Authorization": "Bearer refused"}) as socket:
        assert json.loads(await socket.recv())["code"] == "unauthorized"
        with pytest.raises(ConnectionClosedError):
            await socket.recv()
        assert socket.close_code == 1008


@pytest.mark.parametrize(
    ("headers", "query"),
    [(KEY, ""), ({"Authorization": "any-key"}, ""), ({}, "?token=t")],
    ids=["bearer", "bare", "token"],
)
async def test_a_key_may_be_shown_in_three_ways(quick: Running, headers: dict[str, str], query: str) -> None:
    """As a bearer, bare in the header, or as a token in the query."""
    async with connect(quick.url + query, additional_headers=headers) as socket:
        await tell(socket, "session.update", session={})
        await hear(socket, "session.ready")


async def test_as_documented_a_bad_key_fails_the_upgrade() -> None:
    """In the `docs` profile the upgrade is answered with 401."""
    async with Simulator(SimulatorOptions(profile=Profile.DOCS)).serve() as running:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(running.url):
                pass
        assert refused.value.response.status_code == 401


async def test_only_one_path_is_served(quick: Running) -> None:
    """Another path is not found."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(quick.url.replace("/v1/ws", "/v1/realtime"), additional_headers=KEY):
            pass
    assert refused.value.response.status_code == 404


async def test_a_binary_message_is_not_of_the_protocol(quick: Running) -> None:
    """It gets `invalid_format`, and the session goes on."""
    async with connect(quick.url, additional_headers=KEY) as socket:
        await socket.send(b"\x00\x01")
        assert (await hear(socket, "session.error"))["code"] == "invalid_format"
        await tell(socket, "session.update", session={})
        await hear(socket, "session.ready")


@pytest.mark.parametrize(
    ("faults", "code", "ended"),
    [
        (Faults(drop_after_ms=20), 1006, False),
        (Faults(close_1011_after_ms=20), 1011, False),
        (Faults(close_no_ended_after_ms=20), 1000, False),
    ],
    ids=["cut", "1011", "no ended"],
)
async def test_a_connection_can_be_lost_in_each_way(quick: Running, faults: Faults, code: int, ended: bool) -> None:
    """Cut with no close frame, closed by an exception, closed without `session.ended`."""
    quick.faults = faults
    async with connect(quick.url, additional_headers=KEY) as socket:
        await tell(socket, "session.update", session={})
        kinds: list[str] = []
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(LIMIT_S):
                while True:
                    kinds.append(json.loads(await socket.recv())["type"])
        assert socket.close_code == code
        assert ("session.ended" in kinds) is ended


async def test_stopping_ends_every_session() -> None:
    """A simulator that stops says `session.ended` to whoever is connected, and closes."""
    async with Simulator().serve() as running:
        socket = await connect(running.url, additional_headers=KEY)
        await tell(socket, "session.update", session={})
        await hear(socket, "session.ready")
    kinds = [json.loads(raw)["type"] async for raw in socket]
    assert kinds == ["session.ended"]
    assert socket.close_code == 1000
    await socket.close()
