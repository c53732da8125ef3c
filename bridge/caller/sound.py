"""Arithmetic on sound: how loud a stretch of samples is, and where in it somebody speaks. Touches no clock."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

RATE_HZ = 24_000
FRAME_MS = 20
"""How finely we listen: fine enough to time a barge-in, coarse enough for 24 callers in one process."""

FRAME_S = FRAME_MS / 1000
SAMPLES_PER_MS = RATE_HZ // 1000
FRAME_SAMPLES = FRAME_MS * SAMPLES_PER_MS

AUDIBLE_DBFS = -50.0
"""Louder than this counts as heard: far above Opus' decoded silence, far below any speech."""

SILENCE_DBFS = -120.0
"""What digital silence is reported as, instead of minus infinity."""


def level_dbfs(samples: Samples) -> float:
    """Root mean square of a stretch of samples against full scale, in dB; `SILENCE_DBFS` at the lowest."""
    if samples.size == 0:
        return SILENCE_DBFS
    wide = samples.astype(np.float32)
    mean_square = float(np.dot(wide, wide)) / samples.size
    if mean_square <= 0:
        return SILENCE_DBFS
    return max(10 * math.log10(mean_square / 32768.0**2), SILENCE_DBFS)


@dataclass(frozen=True, slots=True)
class Speech:
    """Something to say: 24 kHz mono samples, and the part of them that is voice, in seconds from the first sample.

    `voiced_until_s` is 0 when nothing in it is audible.
    """

    samples: Samples
    voiced_from_s: float
    voiced_until_s: float

    @classmethod
    def of(cls, samples: Samples) -> "Speech":
        """Find the voiced part, to the nearest 20 ms."""
        audible = [
            index
            for index in range(math.ceil(samples.size / FRAME_SAMPLES))
            if level_dbfs(samples[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES]) > AUDIBLE_DBFS
        ]
        if not audible:
            return cls(samples, 0.0, 0.0)
        return cls(samples, audible[0] * FRAME_S, min((audible[-1] + 1) * FRAME_S, samples.size / RATE_HZ))

    @classmethod
    def of_pcm16(cls, pcm: bytes) -> "Speech":
        """The same from little-endian bytes; an odd trailing byte is dropped."""
        return cls.of(np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.int16))

    @property
    def duration_s(self) -> float:
        """Length of the whole, silence included."""
        return self.samples.size / RATE_HZ
