"""A participant of kind agent that plays tones at known moments: what the synthetic caller is measured against."""

import asyncio
from datetime import timedelta
from typing import Self

import numpy as np
from livekit import api, rtc

RATE_HZ = 24_000
FRAME_SAMPLES = RATE_HZ // 50


def tone(seconds: float, *, hertz: float = 440.0, peak: float = 0.3) -> bytes:
    """A sine as 24 kHz mono PCM16."""
    phase = np.arange(int(seconds * RATE_HZ)) * (2 * np.pi * hertz / RATE_HZ)
    return bytes((np.sin(phase) * peak * 32767).astype("<i2"))


class ToneAgent:
    """In the room from enter to exit; silent until told to play."""

    def __init__(self, url: str, *, key: str, secret: str, room: str, identity: str = "voice-agent") -> None:
        self._url = url
        grants = api.VideoGrants(room_join=True, room=room, can_update_own_metadata=True)
        token = api.AccessToken(key, secret).with_identity(identity).with_kind("agent").with_grants(grants)
        self._token = token.with_ttl(timedelta(seconds=60)).to_jwt()
        self.room = rtc.Room()

    async def __aenter__(self) -> Self:
        await self.room.connect(self._url, self._token)
        self._source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=100)
        track = rtc.LocalAudioTrack.create_audio_track("agent-voice", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        self.publication = await self.room.local_participant.publish_track(track, options)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.room.disconnect()
        await self._source.aclose()

    async def until_subscribed(self) -> None:
        """Wait until somebody can hear us."""
        async with asyncio.timeout(10):
            await self.publication.wait_for_subscription()

    async def show(self, state: str) -> None:
        """Set `lk.agent.state`."""
        await self.room.local_participant.set_attributes({"lk.agent.state": state})

    async def play(self, pcm: bytes) -> tuple[float, float]:
        """Play at real time; returns when the first sample went out and when the last one did."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for begin in range(0, len(pcm), FRAME_SAMPLES * 2):
            chunk = pcm[begin : begin + FRAME_SAMPLES * 2]
            await self._source.capture_frame(rtc.AudioFrame(chunk, RATE_HZ, 1, len(chunk) // 2))
        ended_at = began_at + len(pcm) / 2 / RATE_HZ
        await asyncio.sleep(max(0.0, ended_at - loop.time()))
        return began_at, loop.time()
