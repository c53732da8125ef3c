"""LiveKit's server API, as far as the pool needs it: who is where, and out you go. Foreign errors end here.

The Twirp calls are made here and not by `livekit-api`'s client, which decodes an answer on the event loop, in one
piece: for 5 000 rooms with 10 KB of metadata each that stops every call of the process for 50 ms (measured).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Self, TypeVar

import aiohttp
from google.protobuf.message import DecodeError, Message
from livekit import api
from livekit.protocol.models import ParticipantInfo, Room

from pool.reconcile import ListedParticipant, ListedRoom, RoomListFailed
from pool.tokens import FENCE_ATTRIBUTE

LIST_LIMIT_S = 10.0
"""Listing every room of a large deployment takes its time."""

ROOM_LIMIT_S = 4.0
"""For a question about one room. A server that asks the room's node (`enable_psrpc_for_get_list_participants`) waits
3 s for one that died before it says so."""

MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""A room's metadata may be 512 KiB. What is longer is refused, for the list is held in memory."""

SMALL_BYTES = 16 * 1024
"""An answer of up to this size is decoded where it stands: that is quicker than to find a thread."""

MESSAGES_AT_ONCE = 20
"""Decoded by the thread between two moments in which others may run."""

PRESENT = frozenset({ParticipantInfo.State.JOINED, ParticipantInfo.State.ACTIVE})

T = TypeVar("T")


class LiveKitRooms:
    """LiveKit's rooms, asked and told over HTTP. Retries nothing; the passes of the reconciler are the retries."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, secret: str) -> None:
        self._session = session
        self._service = f"{_http(url)}/twirp/livekit.RoomService"
        self._key = key
        self._secret = secret

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, key: str, secret: str) -> AsyncIterator[Self]:
        """The API behind a `ws(s)://` or `http(s)://` URL, with connections of its own, closed at the end."""
        async with aiohttp.ClientSession() as session:
            yield cls(session, url, key, secret)

    async def list_rooms(self) -> list[ListedRoom]:
        """Every room that the server has stored, those of a dead node included, in one answer.

        Raises:
            RoomListFailed: LiveKit did not answer in time, refused, or its answer cannot be read.
        """
        grants = api.VideoGrants(room_list=True)
        answer = await self._ask("ListRooms", api.ListRoomsRequest(), grants, limit_s=LIST_LIMIT_S)
        return await _decoded(answer, lambda raw: _listed_room(Room.FromString(raw)))

    async def list_participants(self, room: str) -> list[ListedParticipant]:
        """Who is in a room.

        A room that the server does not know is empty, or takes it 3 s and is a failure: that depends on its
        `enable_psrpc_for_get_list_participants`.

        Raises:
            RoomListFailed: as above.
        """
        grants = api.VideoGrants(room_admin=True, room=room)
        request = api.ListParticipantsRequest(room=room)
        answer = await self._ask("ListParticipants", request, grants, limit_s=ROOM_LIMIT_S)
        return await _decoded(answer, lambda raw: _listed_participant(ParticipantInfo.FromString(raw)))

    async def remove_participant(self, room: str, identity: str) -> bool:
        """Put somebody out of a room; their token stays good. False: there is nobody of that identity.

        Raises:
            RoomListFailed: as above; they may or may not be out.
        """
        grants = api.VideoGrants(room_admin=True, room=room)
        request = api.RoomParticipantIdentity(room=room, identity=identity)
        try:
            await self._ask("RemoveParticipant", request, grants, limit_s=ROOM_LIMIT_S)
        except RoomListFailed as failure:
            if failure.reason == "http_404":
                return False
            raise
        return True

    async def _ask(self, method: str, request: Message, grants: api.VideoGrants, *, limit_s: float) -> list[bytes]:
        token = api.AccessToken(self._key, self._secret).with_grants(grants).to_jwt()
        try:
            async with self._session.post(
                f"{self._service}/{method}",
                data=request.SerializeToString(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/protobuf"},
                timeout=aiohttp.ClientTimeout(total=limit_s),
                allow_redirects=False,  # it would be followed by a GET
            ) as answer:
                if answer.status != 200:
                    raise RoomListFailed(f"http_{answer.status}")
                if answer.content_type != "application/protobuf":  # somebody else answers there, such as a proxy
                    raise RoomListFailed("not_protobuf")
                return await _read(answer.content)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:  # ValueError: the URL is none
            raise RoomListFailed(type(error).__name__) from error


async def _read(content: aiohttp.StreamReader) -> list[bytes]:
    """The body in the pieces in which it came: to join many of them takes its time, too."""
    pieces, size = [], 0
    async for piece in content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise RoomListFailed("too_large")
    return pieces


async def _decoded(pieces: list[bytes], decode: Callable[[bytes], T]) -> list[T]:
    """What an answer lists: `rooms` of one, `participants` of the other; both are its field 1. Off the loop if large.

    Cancelled, a thread may go on for a moment; nobody reads what it makes.
    """
    try:
        if sum(map(len, pieces)) <= SMALL_BYTES:
            return [decode(raw) for raw in field_1(b"".join(pieces))]
        return await asyncio.to_thread(_decode_politely, pieces, decode)
    except DecodeError as error:
        raise RoomListFailed("unreadable") from error


def _decode_politely(pieces: list[bytes], decode: Callable[[bytes], T]) -> list[T]:
    """In pieces, with the interpreter's lock given up between them: whoever waits for it gets it at once."""
    listed = []
    for number, raw in enumerate(field_1(b"".join(pieces))):
        if number % MESSAGES_AT_ONCE == 0:
            time.sleep(0)
        listed.append(decode(raw))
    return listed


def field_1(body: bytes) -> Iterator[bytes]:
    """The messages in field 1 of a protobuf message, one by one; other fields are passed over.

    Protobuf's own decoder would take the whole of them in one step that no other thread can interrupt.

    Raises:
        DecodeError: that is no protobuf message, or not the whole of it.
    """
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        match tag & 7:
            case 0:
                _, end = _varint(body, at)
            case 1:
                end = at + 8
            case 2:
                length, at = _varint(body, at)
                end = at + length
            case 5:
                end = at + 4
            case _:
                raise DecodeError("no wire type")
        if end > len(body):
            raise DecodeError("cut short")
        if tag == (1 << 3 | 2):
            yield body[at:end]
        at = end


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at this place, and the place behind it."""
    number = 0
    for place, byte in enumerate(body[at : at + 10]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    raise DecodeError("no varint")


def _http(url: str) -> str:
    """`ws://` and `wss://` as the API is reached: a path stays, as a proxy may want it."""
    return f"http{url[2:]}".rstrip("/") if url.startswith("ws") else url.rstrip("/")


def _listed_room(room: Room) -> ListedRoom:
    return ListedRoom(
        name=room.name,
        sid=room.sid,
        created_unix_ms=room.creation_time_ms or room.creation_time * 1000,
        participants=room.num_participants,
    )


def _listed_participant(participant: ParticipantInfo) -> ListedParticipant:
    may = participant.permission
    return ListedParticipant(
        sid=participant.sid,
        identity=participant.identity,
        kind=_kind_name(participant.kind),
        is_present=participant.state in PRESENT,
        joined_unix_ms=participant.joined_at_ms or participant.joined_at * 1000,
        hidden=may.hidden,
        recorder=may.recorder,
        agent=may.agent,
        can_publish=may.can_publish,
        fence=_fence(participant),
    )


def _fence(participant: ParticipantInfo) -> int | None:
    """By which grant an agent came in, as its token said.

    An agent may change its attributes, so this is its own word. It is believed of the kind AGENT alone, which stands in
    the token and cannot be changed; whoever holds such a token under our identity has our secret anyway.
    """
    said = participant.attributes.get(FENCE_ATTRIBUTE, "")
    if participant.kind != ParticipantInfo.Kind.AGENT or not (said.isascii() and said.isdecimal() and len(said) < 15):
        return None
    return int(said)


def _kind_name(kind: int) -> str:
    # A kind newer than our protocol package arrives as a bare number, and is then nobody we know.
    try:
        return ParticipantInfo.Kind.Name(kind)
    except ValueError:
        return f"UNKNOWN_{kind}"
