"""What the simulator says and hears: its lines, their packing, and the ear."""

import itertools

import numpy as np
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.audio import level_dbfs
from bridge.simulator import adpcm
from bridge.simulator.ear import Ear
from bridge.simulator.lines import line, line_for, own_voice, to_frames
from bridge.simulator.sound import BYTES_PER_MS, FRAME_BYTES
from bridge.simulator.texts import INTRODUCTIONS, LINES
from tests.conformance.virtual import silence, voice


@pytest.mark.parametrize("name", LINES)
def test_each_line_is_loud_and_audible_from_its_first_frames(name: str) -> None:
    """A line is as long as its text needs, well above silence, and does not begin with silence of its own."""
    speech = line(name)
    pcm = b"".join(pybase64.b64decode(frame) for frame in speech.frames)
    assert {len(pybase64.b64decode(frame)) for frame in speech.frames} == {FRAME_BYTES}
    assert 30 < speech.length_ms / len(LINES[name]) < 90
    assert -30 < level_dbfs(pcm) < -10
    assert level_dbfs(pcm[: FRAME_BYTES * 5]) > -50


def test_one_line_is_long_enough_to_be_interrupted() -> None:
    """The long line lasts at least 8 s."""
    assert line("long").length_ms >= 8000


def test_packing_loses_little() -> None:
    """A line unpacked is close to what was packed: noise at least 25 dB below the signal."""
    samples = np.frombuffer(voice(500), dtype="<i2")
    unpacked = adpcm.decode(adpcm.encode(samples))[: len(samples)]
    noise = samples.astype(float) - unpacked
    assert 10 * np.log10(np.mean(samples.astype(float) ** 2) / np.mean(noise**2)) > 25


def test_half_a_block_is_refused() -> None:
    """A truncated file is an error and not a click."""
    with pytest.raises(ValueError, match="reshape"):
        adpcm.decode(bytes(adpcm.BLOCK_BYTES + 1))


def test_a_known_greeting_is_said_as_asked() -> None:
    """A greeting whose text was rendered is said; any other becomes the simulator's own."""
    assert line_for(LINES["back"].upper()) is line("back")
    assert line_for("Bonjour !") is line("greeting")


def test_the_callers_own_voice_comes_back() -> None:
    """After the introduction and a pause, the very samples that were heard."""
    pcm = voice(995)
    said = own_voice(INTRODUCTIONS[0], pcm)
    heard = b"".join(pybase64.b64decode(frame) for frame in said.frames)
    assert heard.endswith(pcm + silence(5))
    assert said.text == "[simulator] You said: 1.0 s of speech"


def test_a_last_frame_is_filled_up() -> None:
    """No frame is shorter than 10 ms."""
    assert [len(pybase64.b64decode(frame)) for frame in to_frames(bytes(481))] == [480, 480]


def hear(pcm: bytes, cuts: list[int]) -> list[tuple[int, int, int]]:
    """The state of an ear after each window."""
    ear = Ear(voiced_dbfs=-45)
    states: list[tuple[int, int, int]] = []
    edges = [0, *sorted(cuts), len(pcm)]
    for start, end in itertools.pairwise(edges):
        for _ in ear.hear(pcm[start:end]):
            states.append((ear.position_ms, ear.age_ms, ear.silence_ms))
    return states


@given(st.lists(st.integers(0, BYTES_PER_MS * 300), max_size=20))
def test_an_ear_hears_the_same_however_audio_is_cut(cuts: list[int]) -> None:
    """Cut anywhere, also in the middle of a sample, the windows are the same."""
    pcm = silence(55) + voice(105) + silence(140)
    assert hear(pcm, cuts) == hear(pcm, [])


def test_a_stretch_runs_from_the_first_voiced_window_to_the_last() -> None:
    """Onset, end and voiced time are those of the audio, to a window."""
    ear = Ear(voiced_dbfs=-45)
    for _ in ear.hear(silence(50) + voice(200) + silence(100) + voice(50) + silence(30)):
        pass
    assert ear.stretch is not None
    assert (ear.stretch.onset_ms, ear.stretch.end_ms, ear.stretch.voiced_ms) == (50, 400, 250)
    assert ear.silence_ms == 30


def test_quiet_noise_is_no_speech() -> None:
    """Comfort noise below the threshold begins no stretch."""
    ear = Ear(voiced_dbfs=-45)
    noise = np.random.default_rng(1).normal(0, 60, 24_000).astype("<i2").tobytes()
    assert level_dbfs(noise) < -50
    assert [ear.stretch for _ in ear.hear(noise) if ear.stretch] == []


def test_an_ear_keeps_a_bounded_past() -> None:
    """However long a caller speaks, only the last part is kept, and it is the right part."""
    ear = Ear(voiced_dbfs=-45)
    for second in range(120):
        for _ in ear.hear(bytes([second, 0]) * 24_000):
            pass
    assert ear.between(119_500, 120_000) == bytes([119, 0]) * 12_000
    assert ear.between(112_000, 112_010) == bytes([112, 0]) * 240
    assert len(ear.between(0, 120_000)) <= 2 * 16_000 * BYTES_PER_MS
