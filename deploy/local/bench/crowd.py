"""Callers who stand in their rooms and cost little: a microphone, and an agent's track that is subscribed."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import rtc

from bridge.shield import see_through
from bridge.tokens import caller_token
from deploy.local.bench.subjects import Running

RATE_HZ = 24_000
JOIN_S = 45.0
SDK_LIMIT_S = 5.0


@asynccontextmanager
async def standing_caller(running: Running, *, served_within_s: float) -> AsyncIterator[bool]:
    """Be in a room of one's own for the block; whether an agent's track came in time.

    Raises:
        rtc.ConnectError, TimeoutError: the caller did not get in.
    """
    server, identity = running.server, f"caller-{secrets.token_hex(4)}"
    token = caller_token(server.api_key, server.api_secret, room=f"bench-{secrets.token_hex(4)}", identity=identity)
    room, subscribed = rtc.Room(), asyncio.Event()
    room.on("track_subscribed", lambda *_: subscribed.set())
    source = rtc.AudioSource(RATE_HZ, 1)
    try:
        await see_through(room.connect(server.url, token), name="crowd_connect", limit_s=JOIN_S)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        options.audio_encoding.max_bitrate = 48_000
        await see_through(
            room.local_participant.publish_track(track, options), name="crowd_publish", limit_s=SDK_LIMIT_S
        )
        yield await _within(subscribed, served_within_s)
    finally:
        await see_through(room.disconnect(), name="crowd_disconnect", limit_s=SDK_LIMIT_S)
        await source.aclose()


async def _within(event: asyncio.Event, limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
