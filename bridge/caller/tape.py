"""A recording of the call: the caller left, every agent right, aligned in time, kept in memory until it is written.

Pure but for `save`. Bounded: what comes after `max_s` is dropped and `is_full` says so.
"""

import wave
from enum import IntEnum
from pathlib import Path

import numpy as np

from bridge.caller.sound import Samples
from bridge.spec import RATE_HZ

MAX_S = 600.0
"""58 MB of memory at most."""

DRIFT_S = 0.08
"""Frames arrive a little early or late; only a larger deviation from gapless is believed to be a real gap."""

_STEP_S = 10


class Side(IntEnum):
    """Which channel of the recording."""

    CALLER = 0
    AGENT = 1


class Tape:
    """A stereo recording that began at `started_at` on the monotonic clock."""

    def __init__(self, *, started_at: float, max_s: float = MAX_S) -> None:
        self._started_at = started_at
        self._max_samples = int(max_s * RATE_HZ)
        self._samples = np.zeros((0, 2), dtype=np.int16)
        # Where a source's next frame goes when it comes without a gap.
        self._next: dict[str, int] = {}
        self._length = 0
        self.is_full = False

    def put(self, side: Side, source: str, samples: Samples, *, starts_at: float) -> None:
        """Lay down samples that began to sound at `starts_at`; sources on one side are mixed.

        Args:
            source: Names one stream, whose frames follow each other without a gap unless they come far off.
        """
        wanted = round((starts_at - self._started_at) * RATE_HZ)
        gapless = self._next.get(source, wanted)
        begin = gapless if abs(wanted - gapless) <= DRIFT_S * RATE_HZ else wanted
        if begin < 0:
            samples, begin = samples[-begin:], 0
        end = begin + samples.size
        self._next[source] = end
        if end > self._max_samples:
            self.is_full = True
            return
        self._grow(end)
        there = self._samples[begin:end, side].astype(np.int32)
        self._samples[begin:end, side] = np.clip(there + samples, -32768, 32767).astype(np.int16)
        self._length = max(self._length, end)

    def _grow(self, end: int) -> None:
        if end > len(self._samples):
            room = np.zeros((end - len(self._samples) + _STEP_S * RATE_HZ, 2), dtype=np.int16)
            self._samples = np.concatenate([self._samples, room])

    @property
    def frames(self) -> Samples:
        """The recording so far: (n, 2) samples at 24 kHz."""
        return self._samples[: self._length]

    def save(self, path: Path) -> None:
        """Write a 16-bit stereo WAV. Blocks: call it in a thread.

        Raises:
            OSError: the path cannot be written.
        """
        with wave.open(str(path), "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(RATE_HZ)
            out.writeframes(self.frames.astype("<i2").tobytes())
