"""What the caller says: one writer feeds one audio source, at real time, and knows when each word sounded.

Between utterances nothing is pushed; the source itself sends silence then. The writer is the only one that touches
the source and is never cancelled inside the SDK: a second capture beside a pending one fails for good.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from livekit import rtc

from bridge.caller.errors import CallOver
from bridge.caller.sound import SAMPLES_PER_MS, Samples, Speech
from bridge.shield import see_through
from bridge.spec import RATE_HZ

log = structlog.get_logger()

CHUNK_MS = 50
"""Half the native calls of 20 ms frames; timing comes from the play head, so it costs no exactness."""

QUEUE_MS = 100
"""The source buffers twice this; it bounds how long after a hang-up the last capture may still wait."""

CAPTURE_S = 5.0
"""For one chunk to be taken; usually a twentieth of a second."""

MAX_WAITING = 8
"""Utterances said faster than they sound; one more makes `say` wait."""


class Spoken(NamedTuple):
    """When our voice began and stopped to sound, on the monotonic clock; silence at either end is not voice."""

    started_at: float
    ended_at: float


@dataclass(slots=True)
class _Utterance:
    speech: Speech
    spoken: asyncio.Future[Spoken] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Mouth:
    """The caller's microphone. `run` is its one writer; `shut` ends it within a quarter of a second."""

    def __init__(self, heard: Callable[[Samples, float], None]) -> None:
        """`heard` is told of every chunk and when it begins to sound."""
        self.source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=QUEUE_MS)
        self._heard = heard
        # Bounded: `say` waits when it is full.
        self._waiting: asyncio.Queue[_Utterance | None] = asyncio.Queue(MAX_WAITING)
        self._is_shut = False

    async def say(self, speech: Speech) -> Spoken:
        """Speak, after what is being said already, and return when the last sample has sounded.

        Raises:
            CallOver: we hung up before it was all said.

        Cancelled, the rest of it is not said.
        """
        if self._is_shut:
            raise CallOver("hung up")
        utterance = _Utterance(speech)
        await self._waiting.put(utterance)
        return await utterance.spoken

    async def run(self) -> None:
        """Write utterances to the source until shut."""
        while not self._is_shut and (utterance := await self._waiting.get()) is not None:
            await self._speak(utterance)

    def shut(self) -> None:
        """Say no more: what is being said is cut, what waits is refused, `run` returns."""
        self._is_shut = True
        while not self._waiting.empty():
            waiting = self._waiting.get_nowait()
            if waiting is not None and not waiting.spoken.done():
                waiting.spoken.set_exception(CallOver("hung up"))
        self._waiting.put_nowait(None)

    async def _speak(self, utterance: _Utterance) -> None:
        try:
            await self._play(utterance)
        finally:
            if not utterance.spoken.done():
                utterance.spoken.set_exception(CallOver("hung up"))

    async def _play(self, utterance: _Utterance) -> None:
        loop = asyncio.get_running_loop()
        speech, spoken = utterance.speech, utterance.spoken
        began_at = head = loop.time()
        for begin in range(0, speech.samples.size, CHUNK_MS * SAMPLES_PER_MS):
            if self._is_shut or spoken.cancelled():
                self.source.clear_queue()
                break
            chunk = speech.samples[begin : begin + CHUNK_MS * SAMPLES_PER_MS]
            # Starved, the source has played silence meanwhile: the head never lies behind now.
            head = max(head, loop.time())
            self._heard(chunk, head)
            head += chunk.size / RATE_HZ
            if not await self._capture(chunk):
                break
        else:
            await asyncio.sleep(max(0.0, head - loop.time()))
            if not spoken.done():
                late_s = head - began_at - speech.duration_s
                spoken.set_result(Spoken(began_at + speech.voiced_from_s, began_at + speech.voiced_until_s + late_s))

    async def _capture(self, chunk: Samples) -> bool:
        frame = rtc.AudioFrame(chunk.tobytes(), RATE_HZ, 1, chunk.size)
        try:
            await see_through(self.source.capture_frame(frame), name="caller_capture", limit_s=CAPTURE_S)
        except Exception as error:  # noqa: BLE001 - the SDK raises bare ones when the room went away under a capture
            log.warning("caller_capture_failed", error=type(error).__name__)
            return False
        return True
