"""WAV files in, at whatever rate they come, as 24 kHz mono speech."""

import wave
from importlib import resources
from pathlib import Path
from typing import IO

import numpy as np
from livekit import rtc

from bridge.caller.errors import BadSettings
from bridge.caller.sound import Samples, Speech
from bridge.spec import RATE_HZ

MAX_S = 120.0
"""A caller's turn longer than this is a mistake in the file name."""


def hello() -> Speech:
    """What a caller says first: a question that asks for an answer."""
    return _shipped("hello.wav")


def interruption() -> Speech:
    """What a caller says into the agent's words: over two seconds of voice, so that any detector notices."""
    return _shipped("interruption.wav")


def read_speech(path: Path) -> Speech:
    """Read a WAV file of any rate, mono or not (channels are averaged), 16 bit. Blocks: call it in a thread.

    Raises:
        BadSettings: not readable, not 16-bit PCM, silent, or longer than two minutes.
    """
    try:
        with path.open("rb") as raw:
            speech = Speech.of(_read(raw))
    except (OSError, EOFError, wave.Error) as error:
        raise BadSettings([f"--wav {path}: not playable ({error}). Make one with: sox IN -b 16 OUT.wav"]) from error
    if not speech.voiced_until_s:
        raise BadSettings([f"--wav {path}: nothing in it is audible. Use a recording of speech."])
    return speech


def _shipped(name: str) -> Speech:
    with resources.files("bridge.caller").joinpath("speech", name).open("rb") as raw:
        return Speech.of(_read(raw))


def _read(raw: IO[bytes]) -> Samples:
    with wave.open(raw, "rb") as source:
        rate_hz, channels = source.getframerate(), source.getnchannels()
        if source.getsampwidth() != 2:
            raise wave.Error(f"{source.getsampwidth() * 8} bits a sample, 16 are needed")
        if source.getnframes() > MAX_S * rate_hz:
            raise wave.Error(f"longer than {MAX_S:g} s")
        interleaved = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
    mono = interleaved.reshape(-1, channels).mean(axis=1).astype(np.int16)
    return mono if rate_hz == RATE_HZ else _resampled(mono, rate_hz)


def _resampled(samples: Samples, rate_hz: int) -> Samples:
    resampler = rtc.AudioResampler(rate_hz, RATE_HZ, quality=rtc.AudioResamplerQuality.HIGH)
    frames = [*resampler.push(bytearray(samples.tobytes())), *resampler.flush()]
    return np.concatenate([np.frombuffer(frame.data, dtype=np.int16) for frame in frames])
