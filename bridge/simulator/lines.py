"""What the simulator can say: pre-rendered lines, and the caller's own voice.

Decides how speech becomes the frames of a reply: 10 ms each, base64 already made, so that sending one is a
concatenation. Does not decide when a frame leaves (`reply.py`) nor which line is said (`session.py`).
The lines were rendered once by `speech/render.py` and lie beside it as 4-bit ADPCM.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pybase64

from bridge.simulator.adpcm import decode
from bridge.simulator.sound import BYTES_PER_MS, FRAME_BYTES, FRAME_MS
from bridge.simulator.texts import LINES
from bridge.simulator.texts import MARK as MARK

SILENT_FRAME = pybase64.b64encode(bytes(FRAME_BYTES))

PAUSE_FRAMES = 15
"""Between an introduction and the caller's voice: long enough to tell them apart."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Something to say: its words, and its audio as base64 of 10 ms each."""

    text: str
    frames: Sequence[bytes]

    @property
    def length_ms(self) -> int:
        """How long it sounds, without any silence before it."""
        return len(self.frames) * FRAME_MS


@cache
def line(name: str) -> Speech:
    """A pre-rendered line.

    Raises:
        KeyError: there is none of that name.
    """
    text = LINES[name]
    packed = (resources.files("bridge.simulator") / "speech" / f"{name}.adpcm").read_bytes()
    return Speech(text=f"{MARK} {text}", frames=to_frames(decode(packed).tobytes()))


def preload() -> None:
    """Read and unpack every line, half a second once: done in between it would hold up everybody's frames."""
    for name in LINES:
        line(name)


def line_for(text: str) -> Speech:
    """The line whose text the client asked for, or the simulator's own greeting: we cannot say any other."""
    wanted = text.casefold().strip()
    return line(next((name for name, known in LINES.items() if known.casefold() == wanted), "greeting"))


def own_voice(introduction: str, pcm: bytes) -> Speech:
    """An introduction, then the caller's own voice: proof that sound went both ways, with no recogniser."""
    said = line(introduction)
    seconds = len(pcm) / BYTES_PER_MS / 1000
    frames = (*said.frames, *[SILENT_FRAME] * PAUSE_FRAMES, *to_frames(pcm))
    return Speech(text=f"{said.text} {seconds:.1f} s of speech", frames=frames)


def to_frames(pcm: bytes) -> tuple[bytes, ...]:
    """Cut PCM16 into base64 of 10 ms each; the last one is filled up with silence."""
    padded = pcm + bytes(-len(pcm) % FRAME_BYTES)
    return tuple(
        pybase64.b64encode(padded[start : start + FRAME_BYTES]) for start in range(0, len(padded), FRAME_BYTES)
    )
