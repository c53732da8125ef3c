"""A stand-in for livekit-server's RoomService: as many rooms as a test likes, and answers as bad as it likes.

Held against the real server by `tests/pool/test_room_control.py`. It runs in a thread with a loop of its own, so that
what it costs is not taken for what its client costs.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import jwt
from aiohttp import web
from livekit.protocol.models import ParticipantInfo, Room
from livekit.protocol.room import (
    ListParticipantsRequest,
    ListParticipantsResponse,
    ListRoomsRequest,
    ListRoomsResponse,
    RemoveParticipantResponse,
    RoomParticipantIdentity,
)

Answer = Callable[[web.Request], web.StreamResponse]
"""How a broken method answers."""


@dataclass
class TwirpRooms:
    """Rooms by name, with who is in them. Change it only before the server starts, or by `broken`."""

    secret: str
    rooms: Mapping[str, Room] = field(default_factory=dict)
    participants: Mapping[str, list[ParticipantInfo]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    silent_rooms: set[str] = field(default_factory=set)
    """Of these nobody says who is in them."""
    port: int = 0
    _broken: dict[str, Answer | None] = field(default_factory=dict)
    _all: bytes = b""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @contextmanager
    def broken(self, method: str, answer: Answer | None) -> Iterator[None]:
        """One method answers so inside the block; None: it never does."""
        self._broken[method] = answer
        try:
            yield
        finally:
            del self._broken[method]

    @contextmanager
    def running(self) -> Iterator[Self]:
        """The server on a free port of loopback, until the end of the block."""
        self._all = ListRoomsResponse(rooms=self.rooms.values()).SerializeToString()
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="twirp")
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._start(), loop).result(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(_end(runner), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/twirp/livekit.RoomService/{method}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.calls[method] += 1
        body = await request.read()
        if method in self._broken:
            answer = self._broken[method]
            if answer is None:
                await asyncio.Event().wait()
            assert answer is not None
            return answer(request)
        try:
            token = request.headers["Authorization"].removeprefix("Bearer ")
            may = jwt.decode(token, self.secret, algorithms=["HS256"])["video"]
        except (KeyError, jwt.PyJWTError):
            return refusal(401, "unauthenticated")
        match method:
            case "ListRooms" if may.get("roomList"):
                return protobuf(self._listed(ListRoomsRequest.FromString(body)))
            case "ListParticipants" if may.get("roomAdmin"):
                room = ListParticipantsRequest.FromString(body).room
                if room in self.silent_rooms:
                    await asyncio.Event().wait()
                inside = self.participants.get(room, [])
                return protobuf(ListParticipantsResponse(participants=inside).SerializeToString())
            case "RemoveParticipant" if may.get("roomAdmin"):
                return self._removed(RoomParticipantIdentity.FromString(body))
        return refusal(401, "unauthenticated")

    def _listed(self, asked: ListRoomsRequest) -> bytes:
        if not asked.names:
            return self._all
        named = [self.rooms[name] for name in asked.names if name in self.rooms]
        return ListRoomsResponse(rooms=named).SerializeToString()

    def _removed(self, whom: RoomParticipantIdentity) -> web.Response:
        inside = self.participants.get(whom.room, [])
        gone = [one for one in inside if one.identity == whom.identity]
        for one in gone:
            inside.remove(one)
        return protobuf(RemoveParticipantResponse().SerializeToString()) if gone else refusal(404, "not_found")


async def _end(runner: web.AppRunner) -> None:
    await runner.cleanup()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # answers that never come
        task.cancel()
    await asyncio.sleep(0)


def protobuf(body: bytes) -> web.Response:
    """An answer as Twirp gives it when all is well."""
    return web.Response(body=body, content_type="application/protobuf")


def refusal(status: int, code: str) -> web.Response:
    """An answer as Twirp gives it when not: JSON, whatever was asked in."""
    return web.json_response({"code": code, "msg": "no"}, status=status)
