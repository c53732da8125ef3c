"""A voice without a peer: says a recorded line, in this process, and listens to nobody.

For measuring what roompool itself costs, and for trying a LiveKit without a voice service. `loopback:once` says one
sentence and is silent from then on, `loopback:always` speaks without end.
"""

import asyncio
import functools
import secrets
from collections.abc import AsyncGenerator
from importlib import resources

from bridge.spec import BYTES_PER_MS, VoiceSpec
from bridge.voice.events import Ready, ReplyAudio, ReplyDone, ReplyStarted, VoiceEvent

DIALECT = "loopback"
ONCE, ALWAYS = "loopback:once", "loopback:always"

PIECE_MS = 100
"""So much is said at once, in real time: a queue runs dry at less, and a loop wakes for nothing at more."""


class LoopbackVoice:
    """A `Voice` that is ready at once and whose link never breaks."""

    def __init__(self, url: str) -> None:
        self.ready = Ready(f"loopback_{secrets.token_hex(4)}")
        self._is_endless = url == ALWAYS

    async def send_audio(self, pcm: bytes | memoryview) -> None:
        """Take a piece of the caller's audio, and drop it."""

    async def instruct(self, voice: VoiceSpec) -> None:
        """Take another prompt, and drop it."""

    async def events(self) -> AsyncGenerator[VoiceEvent, None]:
        """Yield speech at the pace at which it is heard; never ends by itself."""
        reply = "loopback"
        pcm = recording("long" if self._is_endless else "greeting")
        yield ReplyStarted(reply)
        due_at = asyncio.get_running_loop().time()
        while True:
            for start in range(0, len(pcm), PIECE_MS * BYTES_PER_MS):
                yield ReplyAudio(reply, pcm[start : start + PIECE_MS * BYTES_PER_MS])
                due_at += PIECE_MS / 1000
                await _until(due_at)
            if not self._is_endless:
                break
        yield ReplyDone(reply, interrupted=False)
        await asyncio.Event().wait()

    async def farewell(self) -> bool:
        """There is nobody to say good-bye to."""
        return True

    async def abort(self) -> None:
        """There is nothing to close."""


def warm_up(url: str) -> None:
    """Unpack what will be said."""
    recording("long" if url == ALWAYS else "greeting")


@functools.cache
def recording(name: str) -> bytes:
    """A line of the simulator's, as PCM16 at 24 kHz."""
    from bridge.simulator.adpcm import decode  # with the simulator, which a voice of any other kind can do without

    packed = (resources.files("bridge.simulator") / "speech" / f"{name}.adpcm").read_bytes()
    return decode(packed).tobytes()


async def _until(at: float) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(at - loop.time(), 0))
