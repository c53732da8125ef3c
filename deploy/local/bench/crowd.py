"""Callers who stand in their rooms and cost little: a microphone, and an agent's track that is subscribed."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import rtc
from livekit.rtc.participant import PublishTrackError

from bridge.caller.caller import SINGLE_PEER_CONNECTION
from bridge.caller.errors import CannotJoin, JoinFault
from bridge.shield import see_through
from bridge.tokens import caller_token
from deploy.local.bench.subjects import Running

RATE_HZ = 24_000
JOIN_S = 45.0
SDK_LIMIT_S = 5.0


class StandingCaller:
    """One of them, in the room."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._subscribed = asyncio.Event()
        room.on("track_subscribed", lambda *_: self._subscribed.set())

    @property
    def is_served(self) -> bool:
        """Whether an agent is there now and its track is heard. Nobody else is in the room."""
        agents = self._room.remote_participants.values()
        return any(track.subscribed for agent in agents for track in agent.track_publications.values())

    async def wait_served(self, limit_s: float) -> bool:
        """Whether an agent's track comes within the limit; it may come later, too, and go again."""
        try:
            async with asyncio.timeout(limit_s):
                await self._subscribed.wait()
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def standing_caller(running: Running) -> AsyncIterator[StandingCaller]:
    """Be in a room of one's own for the block.

    Raises:
        CannotJoin: The caller did not get in.
    """
    server, identity = running.server, f"caller-{secrets.token_hex(4)}"
    token = caller_token(server.api_key, server.api_secret, room=f"bench-{secrets.token_hex(4)}", identity=identity)
    room = rtc.Room()
    caller = StandingCaller(room)
    source = rtc.AudioSource(RATE_HZ, 1)
    try:
        await _enter(room, source, server.url, token)
        yield caller
    finally:
        with contextlib.suppress(TimeoutError):  # counted and logged as abandoned; it was measured before
            await see_through(room.disconnect(), name="crowd_disconnect", limit_s=SDK_LIMIT_S)
        await source.aclose()


async def _enter(room: rtc.Room, source: rtc.AudioSource, url: str, token: str) -> None:
    """Connect and publish. LiveKit's own sentence is dropped, since it may repeat the token."""
    options = rtc.RoomOptions(single_peer_connection=SINGLE_PEER_CONNECTION)
    try:
        await see_through(room.connect(url, token, options), name="crowd_connect", limit_s=JOIN_S)
    except (rtc.ConnectError, TimeoutError):
        raise CannotJoin(JoinFault.UNREACHABLE) from None
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    microphone.audio_encoding.max_bitrate = 48_000
    publishing = room.local_participant.publish_track(track, microphone)
    try:
        await see_through(publishing, name="crowd_publish", limit_s=SDK_LIMIT_S)
    except (PublishTrackError, TimeoutError):
        raise CannotJoin(JoinFault.NO_MICROPHONE) from None
