"""Levels, voiced parts, WAV files and the recording."""

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bridge.audio import level_dbfs
from bridge.caller import wav
from bridge.caller.errors import BadSettings
from bridge.caller.sound import AUDIBLE_DBFS, Speech, is_audible
from bridge.caller.tape import Side, Tape
from bridge.spec import RATE_HZ
from tests.bridge.caller.tone_agent import tone


def samples(pcm: bytes) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.frombuffer(pcm, dtype=np.int16)


def write_wav(path: Path, pcm: bytes, *, rate_hz: int = RATE_HZ, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate_hz)
        out.writeframes(pcm)
    return path


def test_a_quiet_voice_is_audible_and_silence_is_not() -> None:
    """A tone 40 dB below full scale is heard, one 60 dB below is not, nor is nothing at all."""
    assert is_audible(samples(tone(0.02, peak=0.01)))
    assert not is_audible(samples(tone(0.02, peak=0.001)))
    assert not is_audible(np.zeros(480, dtype=np.int16))
    assert not is_audible(np.zeros(0, dtype=np.int16))


def test_voice_is_found_between_silences() -> None:
    """Times of speech are those of the voice, not of the file."""
    speech = Speech.of_pcm16(bytes(24_000) + tone(0.6) + bytes(48_000))

    assert speech.voiced_from_s == pytest.approx(0.5)
    assert speech.voiced_until_s == pytest.approx(1.1)
    assert speech.duration_s == pytest.approx(2.1)


@pytest.mark.parametrize(("shipped", "at_least_s"), [(wav.hello, 2.0), (wav.interruption, 1.5)])
def test_the_shipped_phrases_are_voiced_throughout(shipped: Callable[[], Speech], at_least_s: float) -> None:
    """Long enough for a voice detector to notice, and silent at neither end."""
    speech = shipped()

    assert speech.voiced_until_s - speech.voiced_from_s >= at_least_s
    assert speech.voiced_from_s < 0.05
    assert speech.duration_s - speech.voiced_until_s < 0.05
    assert level_dbfs(speech.samples.tobytes()) > AUDIBLE_DBFS + 20


def test_a_file_of_another_rate_and_two_channels_becomes_ours(tmp_path: Path) -> None:
    """A 48 kHz stereo second is a 24 kHz mono second."""
    mono = samples(tone(1.0, hertz=220))
    stereo = np.repeat(np.repeat(mono, 2), 2)

    speech = wav.read_speech(write_wav(tmp_path / "a.wav", stereo.tobytes(), rate_hz=48_000, channels=2))

    assert speech.duration_s == pytest.approx(1.0, abs=0.01)
    assert level_dbfs(speech.samples.tobytes()) == pytest.approx(level_dbfs(mono.tobytes()), abs=1.0)


def test_a_file_that_cannot_be_played_is_refused_with_its_name(tmp_path: Path) -> None:
    """Missing, garbage, 8 bit or silent: a settings problem, not a traceback."""
    garbage = tmp_path / "garbage.wav"
    garbage.write_bytes(b"not audio")
    eight_bit = write_wav(tmp_path / "eight.wav", tone(0.5), width=1)
    silent = write_wav(tmp_path / "silent.wav", bytes(48_000))

    for path in (tmp_path / "missing.wav", garbage, eight_bit, silent):
        with pytest.raises(BadSettings) as refused:
            wav.read_speech(path)
        assert str(path) in refused.value.problems[0]


def test_a_recording_keeps_both_sides_in_time(tmp_path: Path) -> None:
    """Caller left, agent right, each where it sounded; jitter of arrival leaves no holes."""
    tape = Tape(started_at=100.0, max_s=10)
    tape.put(Side.CALLER, "caller", samples(tone(0.5)), starts_at=101.0)
    beep = samples(tone(0.2))
    for index, jitter_s in enumerate((0.0, 0.03, -0.02, 0.05, 0.0)):
        part = beep[index * 960 : (index + 1) * 960]
        tape.put(Side.AGENT, "PA_1", part, starts_at=102.0 + index * 0.04 + jitter_s)
    tape.save(tmp_path / "call.wav")

    with wave.open(str(tmp_path / "call.wav")) as saved:
        assert (saved.getnchannels(), saved.getframerate(), saved.getnframes()) == (2, 24_000, int(2.2 * 24_000))
    left, right = tape.frames[:, Side.CALLER], tape.frames[:, Side.AGENT]
    assert not left[:24_000].any()
    assert np.array_equal(left[24_000:36_000], samples(tone(0.5)))
    assert np.array_equal(right[48_000:], beep)


def test_a_full_recording_keeps_what_it_has() -> None:
    """The bound is kept, and it says so."""
    tape = Tape(started_at=0.0, max_s=1.0)
    tape.put(Side.AGENT, "PA_1", samples(tone(0.5)), starts_at=0.0)
    tape.put(Side.AGENT, "PA_1", samples(tone(0.5)), starts_at=5.0)

    assert tape.is_full
    assert len(tape.frames) == 12_000
