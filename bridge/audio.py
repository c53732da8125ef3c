"""Audio arithmetic and the caller's words on their way to the voice. Pure; time is an argument."""

from collections import deque

import numpy as np

from bridge.spec import BYTES_PER_MS

SILENCE_DBFS = -50.0
"""Below this nobody speaks: room noise of a telephone lies lower, quiet speech higher."""

BACKLOG_MS = 10_000
"""The caller's first words kept while the voice is not ready. Oldest dropped."""

PRE_ROLL_MS = 200
"""Kept in front of the first word, so that its first consonant is whole."""

CATCH_UP = 1.2
"""Times real time at which a backlog is sent. The vendor drops what comes much faster."""

CATCH_UP_BURST_MS = 100
"""What may go out at once after a pause of the clock."""


def level_dbfs(pcm: bytes | memoryview) -> float:
    """Root mean square of mono PCM16 in decibels below full scale; silence is -96."""
    samples = np.frombuffer(pcm, dtype="<i2")
    if samples.size == 0:
        return -96.0
    mean_square = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(10.0 * float(np.log10(mean_square / 32768.0**2)), -96.0) if mean_square > 0 else -96.0


def silence(duration_ms: int) -> bytes:
    """That much silence."""
    return bytes(duration_ms * BYTES_PER_MS)


class Backlog:
    """Frames of the caller that wait for the voice: bounded, oldest dropped, leading silence trimmed.

    While the voice is away nothing leaves. Once it listens, frames leave no faster than 1.2 x real time, and a caller
    who speaks in step with the clock is passed on without delay.
    """

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._queued_bytes = 0
        self._words = False
        self._allowance_ms = float(CATCH_UP_BURST_MS)
        self._counted_at: float | None = None
        self.dropped_ms = 0

    @property
    def queued_ms(self) -> int:
        """Milliseconds that wait."""
        return self._queued_bytes // BYTES_PER_MS

    def push(self, frame: bytes, *, listening: bool) -> None:
        """Take a frame from the room. `listening` says whether the voice hears now."""
        self._frames.append(frame)
        self._queued_bytes += len(frame)
        if listening:
            self._words = True
        elif not self._words:
            self._words = level_dbfs(frame) > SILENCE_DBFS
        limit_ms = BACKLOG_MS if self._words else PRE_ROLL_MS
        while self._queued_bytes > limit_ms * BYTES_PER_MS and len(self._frames) > 1:
            oldest = self._frames.popleft()
            self._queued_bytes -= len(oldest)
            if self._words:
                self.dropped_ms += len(oldest) // BYTES_PER_MS

    def pop(self, *, now: float) -> bytes | None:
        """The next frame that may be sent now, or None."""
        if self._counted_at is not None:
            earned_ms = max(now - self._counted_at, 0.0) * 1000 * CATCH_UP
            self._allowance_ms = min(self._allowance_ms + earned_ms, CATCH_UP_BURST_MS)
        self._counted_at = now
        if not self._frames:
            return None
        duration_ms = len(self._frames[0]) / BYTES_PER_MS
        if self._allowance_ms < duration_ms:
            return None
        self._allowance_ms -= duration_ms
        frame = self._frames.popleft()
        self._queued_bytes -= len(frame)
        return frame

    def ready_in_s(self) -> float:
        """Of the first frame that waits: how long after the last `pop` it may be sent, at the earliest."""
        duration_ms = len(self._frames[0]) / BYTES_PER_MS if self._frames else 0.0
        return max(duration_ms - self._allowance_ms, 0.0) / 1000 / CATCH_UP

    def away(self) -> None:
        """The voice went away: silence is trimmed again, unless words still wait before it."""
        self._words = bool(self._frames)
