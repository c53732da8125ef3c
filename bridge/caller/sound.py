"""Something to say, and where in it somebody speaks; what of an agent counts as heard. Touches no clock."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bridge.audio import level_dbfs
from bridge.spec import RATE_HZ

Samples = npt.NDArray[np.int16]

FRAME_MS = 20
"""How finely we listen: fine enough to time a barge-in, coarse enough for 24 callers in one process."""

FRAME_S = FRAME_MS / 1000
SAMPLES_PER_MS = RATE_HZ // 1000
FRAME_SAMPLES = FRAME_MS * SAMPLES_PER_MS

AUDIBLE_DBFS = -50.0
"""Louder than this counts as heard: far above Opus' decoded silence, far below any speech."""


def is_audible(samples: Samples) -> bool:
    """Whether a stretch of mono samples is loud enough to be heard."""
    return level_dbfs(samples.tobytes()) > AUDIBLE_DBFS


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
            if is_audible(samples[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES])
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
