"""LiveKit's API as the pool asks it: a real server, and a stand-in that is held against it for what is hard to have."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from aiohttp import web
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from livekit import api
from livekit.protocol.models import ParticipantInfo, Room
from livekit.protocol.room import ListParticipantsResponse, ListRoomsResponse

from bridge.caller.caller import Caller
from bridge.tokens import agent_token
from deploy.local.livekit_server import LiveKitServer
from pool import room_control
from pool.reconcile import ListedParticipant, RoomListFailed
from pool.room_control import LiveKitRooms, field_1
from tests.e2e.site import until
from tests.peers.twirp import TwirpRooms, protobuf, refusal

SECRET = secrets.token_urlsafe(32)
MANY = 5000
TRIES = 40
STALL_S = 0.02


def a_room(number: int, *, metadata: str = "") -> Room:
    return Room(
        name=f"call-{number}",
        sid=f"RM_{number:012}",
        creation_time=1_800_000_000,
        creation_time_ms=1_800_000_000_000 + number,
        num_participants=1,
        metadata=metadata,
    )


def an_agent(fence: str | None = "17", *, kind: ParticipantInfo.Kind = ParticipantInfo.Kind.AGENT) -> ParticipantInfo:
    return ParticipantInfo(
        sid="PA_agent",
        identity="voice-agent",
        kind=kind,
        state=ParticipantInfo.State.ACTIVE,
        attributes={} if fence is None else {"roompool.fence": fence},
    )


@pytest.fixture
def one_room() -> Iterator[TwirpRooms]:
    """A stand-in with one room, in which there is an agent of ours."""
    server = TwirpRooms(SECRET, rooms={"call-1": a_room(1)}, participants={"call-1": [an_agent()]})
    with server.running():
        yield server


@pytest.fixture
async def listing(one_room: TwirpRooms) -> AsyncIterator[LiveKitRooms]:
    async with LiveKitRooms.open(one_room.url, "key", SECRET) as opened:
        yield opened


# --- the real server ------------------------------------------------------------------------------------------------


@pytest.mark.livekit
async def test_the_stand_in_answers_as_the_real_server_does(livekit: LiveKitServer) -> None:
    """One room with a caller and an agent of ours: the stand-in says of it what the server does."""
    room = f"held-{secrets.token_hex(4)}"
    token = agent_token(
        livekit.api_key,
        livekit.api_secret,
        room=room,
        identity="voice-agent",
        name="Agent",
        attributes={"roompool.fence": "4711"},
    )
    env = livekit.env
    async with (
        api.LiveKitAPI(env["LIVEKIT_URL"], livekit.api_key, livekit.api_secret) as asked,
        Caller(livekit.url, room=room, key=livekit.api_key, secret=livekit.api_secret, identity="ann"),
        Caller(livekit.url, room=room, token=token),
        LiveKitRooms.open(livekit.url, livekit.api_key, livekit.api_secret) as real,
    ):
        (listed,) = (await asked.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms
        inside = (await asked.room.list_participants(api.ListParticipantsRequest(room=room))).participants
        stand_in = TwirpRooms(livekit.api_secret, rooms={room: listed}, participants={room: list(inside)})
        with stand_in.running():
            async with LiveKitRooms.open(stand_in.url, livekit.api_key, livekit.api_secret) as pretended:
                (same,) = [one for one in await real.list_rooms() if one.name == room]
                assert await pretended.list_rooms() == [same]
                assert (same.sid, same.created_unix_ms) == (listed.sid, listed.creation_time_ms)

                agent, ann = sorted(await real.list_participants(room), key=lambda one: one.kind)
                assert sorted(await pretended.list_participants(room), key=lambda one: one.kind) == [agent, ann]
                assert (agent.identity, agent.kind, agent.fence) == ("voice-agent", "AGENT", 4711)
                assert (ann.identity, ann.kind, ann.fence) == ("ann", "STANDARD", None)

                for rooms in (real, pretended):
                    assert not await rooms.remove_participant(room, "nobody")
                    assert await rooms.remove_participant(room, "voice-agent")
                    assert [one.identity for one in await until_alone(rooms, room)] == ["ann"]


@pytest.mark.livekit
async def test_the_stand_in_refuses_as_the_real_server_does(livekit: LiveKitServer, one_room: TwirpRooms) -> None:
    """A key that is none of its own: 401, before anything is told."""
    for url in (livekit.url, one_room.url):
        async with LiveKitRooms.open(url, livekit.api_key, "not-the-secret-but-as-long-as-one-is") as rooms:
            for question in (
                rooms.list_rooms(),
                rooms.list_participants("call-1"),
                rooms.remove_participant("call-1", "voice-agent"),
            ):
                with pytest.raises(RoomListFailed) as caught:
                    await question
                assert caught.value.reason == "http_401"


async def until_alone(rooms: LiveKitRooms, room: str) -> list[ListedParticipant]:
    """Who is in the room once only one is."""

    async def look() -> list[ListedParticipant]:
        inside = [one for one in await rooms.list_participants(room) if one.is_present]
        return inside if len(inside) == 1 else []

    return await until(look, "one participant alone")


# --- bad answers ----------------------------------------------------------------------------------------------------


def cut(_request: web.Request) -> web.Response:
    whole = ListRoomsResponse(rooms=[a_room(1)]).SerializeToString()
    return protobuf(whole[:-3])


def cut_off(_request: web.Request) -> web.Response:
    """The connection ends before what the header promised has come."""
    answer = protobuf(b"x" * 10)
    answer.headers["Content-Length"] = "1000"
    answer.force_close()
    return answer


BAD = {
    "http_500": lambda request: refusal(500, "internal"),
    "http_503": lambda request: refusal(503, "unavailable"),
    "http_401": lambda request: refusal(401, "unauthenticated"),
    "http_302": lambda request: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
    "not_protobuf": lambda request: web.Response(text="<html>I am a proxy", content_type="text/html"),
    "unreadable": lambda request: protobuf(b"\x0a\x05\xff\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("reason", BAD)
async def test_a_bad_answer_has_its_reason(one_room: TwirpRooms, listing: LiveKitRooms, reason: str) -> None:
    """In a word for the log, and never the peer's own."""
    with one_room.broken("ListRooms", BAD[reason]), pytest.raises(RoomListFailed) as caught:
        await listing.list_rooms()
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "answer",
    [cut, cut_off, lambda request: protobuf(b"\xff" * 100), lambda request: protobuf(b"garbage" * 10_000)],
    ids=["cut short", "cut off", "no varint", "garbage"],
)
async def test_an_answer_that_is_not_whole_is_none(
    one_room: TwirpRooms, listing: LiveKitRooms, answer: Callable[[web.Request], web.Response]
) -> None:
    """Half a list would look like a list."""
    with one_room.broken("ListRooms", answer), pytest.raises(RoomListFailed):
        await listing.list_rooms()


async def test_an_answer_that_never_comes_has_an_end(
    one_room: TwirpRooms, listing: LiveKitRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a single room sooner than for the list, or one dead node would use up the whole pass."""
    monkeypatch.setattr(room_control, "ROOM_LIMIT_S", 0.2)
    assert room_control.ROOM_LIMIT_S < room_control.LIST_LIMIT_S
    with one_room.broken("ListParticipants", None), pytest.raises(RoomListFailed) as caught:
        await listing.list_participants("call-1")
    assert "Timeout" in caught.value.reason


async def test_an_answer_past_the_limit_is_refused(
    one_room: TwirpRooms, listing: LiveKitRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held in memory."""
    monkeypatch.setattr(room_control, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(RoomListFailed) as caught:
        await listing.list_rooms()
    assert caught.value.reason == "too_large"


async def test_an_address_that_is_none_is_a_failure_and_no_more() -> None:
    """Settings refuse it at start; should one come through, the passes fail and say why."""
    async with LiveKitRooms.open("nonsense", "key", SECRET) as rooms:
        with pytest.raises(RoomListFailed):
            await rooms.list_rooms()


# --- what agents say of themselves ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "fence"),
    [
        (an_agent("17"), 17),
        (an_agent(None), None),
        (an_agent(""), None),
        (an_agent("-1"), None),
        (an_agent("\u0661"), None),
        (an_agent("9" * 15), None),
        (an_agent("17", kind=ParticipantInfo.Kind.STANDARD), None),
    ],
    ids=["a fence", "none", "empty", "negative", "foreign digits", "too long", "a person's word"],
)
def test_which_fence_is_believed(agent: ParticipantInfo, fence: int | None) -> None:
    """Digits as we write them, said by an agent."""
    assert room_control._listed_participant(agent).fence == fence


# --- many rooms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", ["", "m" * 2000], ids=["bare", "with metadata"])
async def test_a_long_list_does_not_stall_the_loop(metadata: str) -> None:
    """Five thousand rooms are decoded beside the loop, in pieces: audio of 50 ms is never late for it.

    Longest stall, two cores, the server in a process of its own, 2026-11-23: 4 ms; with 10 KB of metadata each (50 MB)
    7 ms, where decoding on the loop took 50. It counts here what this process computed, so that others cannot make it
    longer, in the best of some tries.
    """
    rooms = {f"call-{number}": a_room(number, metadata=metadata) for number in range(MANY)}
    stalls: list[float] = []
    with TwirpRooms(SECRET, rooms=rooms).running() as server:
        async with LiveKitRooms.open(server.url, "key", SECRET) as listing:
            while len(stalls) < TRIES and min(stalls, default=1.0) >= STALL_S:
                async with stall() as lags:
                    listed = await listing.list_rooms()
                stalls.append(max(lags))
    assert [one.name for one in listed] == list(rooms)
    assert min(stalls) < STALL_S, f"longest stall in CPU ms, of each try: {[round(1000 * one) for one in stalls]}"


@contextlib.asynccontextmanager
async def stall() -> AsyncIterator[list[float]]:
    """How many CPU seconds passed in this process between two turns of the loop, many times inside the block."""
    lags: list[float] = []
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(note_lags(lags))
        yield lags
        await asyncio.sleep(0.001)  # a stall at the very end is noted, too
        watch.cancel()


async def note_lags(lags: list[float]) -> None:
    """Task: what is computed from one turn to another, every millisecond."""
    while True:
        slept_at = time.process_time()
        await asyncio.sleep(0.001)
        lags.append(time.process_time() - slept_at)


# --- the cutting of a protobuf message ------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_a_message_is_cut_as_protobuf_cuts_it(names: list[bytes], data: st.DataObject) -> None:
    """Every message of field 1, in order, whatever else the peer's newer schema has between them."""
    others = [b"\x10\x05", b"\x19" + b"8" * 8, b"\x22\x03abc", b"\x2d" + b"4" * 4, b"\x80\x80\x80\x80\x01\x01"]
    body = b""
    for name in names:
        body += data.draw(st.sampled_from([b"", *others]))
        body += ListParticipantsResponse(participants=[ParticipantInfo(sid=name.hex())]).SerializeToString()
    cut_up = [ParticipantInfo.FromString(raw).sid for raw in field_1(body)]
    assert cut_up == [one.sid for one in ListParticipantsResponse.FromString(body).participants]


@given(st.binary(max_size=200))
def test_any_bytes_are_cut_or_refused(body: bytes) -> None:
    """Nothing but DecodeError, and never more than there was."""
    with contextlib.suppress(DecodeError):
        assert sum(map(len, field_1(body))) <= len(body)
