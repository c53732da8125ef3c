"""Render the simulator's lines anew: `python -m bridge.simulator.speech.render`. Needs espeak-ng on PATH.

Only for whoever changes `LINES`; the results are kept beside this file, so nobody else needs a synthesiser.
The texts are ours, and what a program prints is not the program, so its licence does not reach these files.
"""

import io
import subprocess
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge.simulator.adpcm import encode
from bridge.simulator.sound import RATE_HZ
from bridge.simulator.texts import LINES

WORDS_PER_MINUTE = 170
PEAK = 0.6
"""Of full scale: loud enough to be heard through Opus, with room for what a resampler adds."""
FLOOR = 0.01
"""Of full scale: what is below it at either end is cut off, so that a line is audible from its first frame."""
RENDER_LIMIT_S = 30


def main() -> None:
    """Write one file a line."""
    for name, text in LINES.items():
        packed = encode(trim(loud(resample(synthesise(text)))))
        (Path(__file__).parent / f"{name}.adpcm").write_bytes(packed)


def synthesise(text: str) -> tuple[NDArray[np.float64], int]:
    """Samples between -1 and 1, and their rate."""
    command = ["espeak-ng", "-v", "en-us", "-s", str(WORDS_PER_MINUTE), "--stdout", text]
    made = subprocess.run(command, check=True, capture_output=True, timeout=RENDER_LIMIT_S).stdout
    with wave.open(io.BytesIO(made)) as sound:
        raw = sound.readframes(sound.getnframes())
        return np.frombuffer(raw, dtype="<i2") / 32768, sound.getframerate()


def resample(sound: tuple[NDArray[np.float64], int]) -> NDArray[np.float64]:
    """To 24 kHz, by way of the spectrum: exact for a line that begins and ends in silence."""
    samples, rate_hz = sound
    wanted = round(len(samples) * RATE_HZ / rate_hz)
    resampled: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(samples), n=wanted) * (wanted / len(samples))
    return resampled


def loud(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled so that its peak is where we want it."""
    return samples * (PEAK / float(np.abs(samples).max()))


def trim(samples: NDArray[np.float64]) -> NDArray[np.int16]:
    """Without the silence at either end, as int16."""
    audible = np.flatnonzero(np.abs(samples) > FLOOR)
    return (samples[audible[0] : audible[-1] + 1] * 32767).astype(np.int16)


if __name__ == "__main__":
    main()
