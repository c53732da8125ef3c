"""LiveKit's server API, as far as the pool needs it: who is where, and out you go. Foreign errors end here."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Self

import aiohttp
from livekit import api
from livekit.protocol.models import ParticipantInfo, Room

from pool.reconcile import ListedParticipant, ListedRoom, RoomListFailed

CALL_LIMIT_S = 10.0
"""Listing every room of a large deployment takes its time; a single room does not."""

PRESENT = frozenset({ParticipantInfo.State.JOINED, ParticipantInfo.State.ACTIVE})


class LiveKitRooms:
    """LiveKit's rooms, asked and told over HTTP. Retries nothing; the passes of the reconciler are the retries."""

    def __init__(self, livekit: api.LiveKitAPI) -> None:
        self._livekit = livekit

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, key: str, secret: str) -> AsyncIterator[Self]:
        """The API behind a `ws(s)://` or `http(s)://` URL, with connections of its own, closed at the end."""
        limit = aiohttp.ClientTimeout(total=CALL_LIMIT_S)
        async with aiohttp.ClientSession(timeout=limit) as session:
            yield cls(api.LiveKitAPI(url, key, secret, session=session, failover=False))

    async def list_rooms(self) -> list[ListedRoom]:
        """Every room that the server has stored, those of a dead node included, in one answer.

        Raises:
            RoomListFailed: LiveKit did not answer in time, or refused.
        """
        with _mapped():
            answer = await self._livekit.room.list_rooms(api.ListRoomsRequest())
        return [_listed_room(room) for room in answer.rooms]

    async def list_participants(self, room: str) -> list[ListedParticipant]:
        """Who is in a room.

        A room that the server does not know is empty, or takes it 3 s and is a failure: that depends on its
        `enable_psrpc_for_get_list_participants`.

        Raises:
            RoomListFailed: LiveKit did not answer in time, or refused.
        """
        with _mapped():
            answer = await self._livekit.room.list_participants(api.ListParticipantsRequest(room=room))
        return [_listed_participant(participant) for participant in answer.participants]

    async def remove_participant(self, room: str, identity: str) -> bool:
        """Put somebody out of a room; their token stays good. False: there is nobody of that identity.

        Raises:
            RoomListFailed: as above.
        """
        try:
            with _mapped():
                await self._livekit.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity))
        except RoomListFailed as failure:
            if failure.reason == "http_404":
                return False
            raise
        return True


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except api.ServerError as error:
        raise RoomListFailed(f"http_{error.status}") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RoomListFailed(type(error).__name__) from error


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
    )


def _kind_name(kind: int) -> str:
    # A kind newer than our protocol package arrives as a bare number, and is then nobody we know.
    try:
        return ParticipantInfo.Kind.Name(kind)
    except ValueError:
        return f"UNKNOWN_{kind}"
