"""How the caller hears one agent's track: opened on subscription, closed on unsubscription, a note for each 20 ms.

A stream left open after its track is gone goes on with the *next* participant's audio (seen on a real server), so a
shut ear counts nothing more, from that moment on.
"""

import asyncio
from collections.abc import Callable

import numpy as np
import structlog
from livekit import rtc

from bridge.caller.sound import FRAME_MS, Samples
from bridge.spec import RATE_HZ

log = structlog.get_logger()

CAPACITY = 100
"""Frames kept while the loop is busy (2 s); the oldest are dropped beyond."""

CLOSE_S = 2.0


class Ear:
    """Listens to one track. `run` owns the stream and returns once it is closed."""

    def __init__(self, track: rtc.Track, heard: Callable[[Samples, float], None]) -> None:
        """`heard` is told of every frame and when it arrived."""
        self.track_sid = track.sid
        self._stream = rtc.AudioStream.from_track(
            track=track, sample_rate=RATE_HZ, num_channels=1, frame_size_ms=FRAME_MS, capacity=CAPACITY
        )
        self._heard = heard
        self._is_shut = False

    def shut(self) -> None:
        """Hear nothing more; `run` ends with the next frame."""
        self._is_shut = True

    async def run(self) -> None:
        """Listen until shut or the track ends."""
        loop = asyncio.get_running_loop()
        try:
            async for event in self._stream:
                if self._is_shut:
                    break
                self._heard(np.frombuffer(event.frame.data, dtype=np.int16), loop.time())
        finally:
            await self._close()

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._stream.aclose()
        except TimeoutError:
            log.warning("caller_stream_not_closed", track=self.track_sid)
