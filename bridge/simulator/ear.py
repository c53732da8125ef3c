"""Where the caller speaks, by energy alone. Pure: fed with PCM, it counts audio and not wall time.

The same samples give the same stretches however they are cut, also in the middle of a sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bridge.simulator.sound import BYTES_PER_MS

WINDOW_MS = 10
WINDOW_BYTES = WINDOW_MS * BYTES_PER_MS

KEPT_MS = 16_000
"""Audio kept for playing the caller's voice back: its last 8 s, and the longest usual silence after it."""

GAP_MS = 600
"""So much silence ends a stretch that nobody took up as a turn: a cough, a click, a yes."""


@dataclass(slots=True)
class Stretch:
    """A stretch of speech, in milliseconds of audio since the session began."""

    onset_ms: int
    """Where its first voiced window begins."""
    end_ms: int
    """Where its last voiced window ends, so far."""
    voiced_ms: int


class Ear:
    """Hears one caller."""

    def __init__(self, *, voiced_dbfs: float) -> None:
        self.position_ms = 0
        """Audio heard since the session began."""
        self.stretch: Stretch | None = None
        """The stretch of speech that goes on, or has just ended."""
        self._least_power = (32768.0 * 10 ** (voiced_dbfs / 20)) ** 2
        self._rest = b""
        self._kept = bytearray()
        self._kept_to_ms = 0
        """Where the kept audio ends: ahead of `position_ms` while `hear` runs."""

    def hear(self, pcm: bytes) -> Iterator[None]:
        """Take in PCM16; yields after each whole window of 10 ms, with `stretch` and `position_ms` up to date.

        To be exhausted before the next call.
        """
        heard = self._rest + pcm
        whole = len(heard) - len(heard) % WINDOW_BYTES
        self._rest = heard[whole:]
        if not whole:
            return
        self._keep(heard[:whole])
        samples = np.frombuffer(heard, dtype="<i2", count=whole // 2).reshape(-1, WINDOW_BYTES // 2)
        wide = samples.astype(np.float32)
        for is_voiced in (np.einsum("ij,ij->i", wide, wide) / wide.shape[1] > self._least_power).tolist():
            self._step(is_voiced)
            yield

    def _step(self, is_voiced: bool) -> None:
        self.position_ms += WINDOW_MS
        if not is_voiced:
            return
        if self.stretch is None:
            self.stretch = Stretch(self.position_ms - WINDOW_MS, self.position_ms, WINDOW_MS)
        else:
            self.stretch.end_ms = self.position_ms
            self.stretch.voiced_ms += WINDOW_MS

    def _keep(self, windows: bytes) -> None:
        self._kept += windows
        self._kept_to_ms += len(windows) // BYTES_PER_MS
        if len(self._kept) > 2 * KEPT_MS * BYTES_PER_MS:
            del self._kept[: -KEPT_MS * BYTES_PER_MS]

    @property
    def silence_ms(self) -> int:
        """Silence since the last voiced window of the stretch; 0 without one."""
        return self.position_ms - self.stretch.end_ms if self.stretch else 0

    @property
    def age_ms(self) -> int:
        """Audio since the stretch began; 0 without one."""
        return self.position_ms - self.stretch.onset_ms if self.stretch else 0

    def forget(self) -> None:
        """The next voiced window begins a new stretch."""
        self.stretch = None

    def forget_if_over(self) -> None:
        """Forget a stretch that is followed by more than `GAP_MS` of silence."""
        if self.silence_ms > GAP_MS:
            self.forget()

    def between(self, start_ms: int, end_ms: int) -> bytes:
        """The PCM16 between two positions, as far as it is still kept."""
        kept_from_ms = self._kept_to_ms - len(self._kept) // BYTES_PER_MS
        first = max(0, start_ms - kept_from_ms) * BYTES_PER_MS
        return bytes(self._kept[first : max(0, end_ms - kept_from_ms) * BYTES_PER_MS])
