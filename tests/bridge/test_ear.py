"""When silence is passed on in the place of frames that do not come."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bridge.audio import silence
from bridge.ear import FILL_MS, LATE_S, Ear
from bridge.spec import Said
from bridge.voice.loopback import ONCE, LoopbackVoice


class Listener(LoopbackVoice):
    """A voice that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(ONCE)
        self.heard: list[bytes] = []
        self.hears = asyncio.Event()

    async def send_audio(self, pcm: bytes | memoryview) -> None:
        self.heard.append(bytes(pcm))
        self.hears.set()


class Untold:
    """A journal that nobody reads."""

    def event(self, name: str, **facts: int | float | str) -> None:
        return

    def callers(self, present: Mapping[str, int]) -> None:
        return

    def turn(self, said: Said) -> None:
        return

    def quiet(self, is_quiet: bool) -> None:
        return


@asynccontextmanager
async def passing_on() -> AsyncIterator[Listener]:
    """A voice to which an ear passes on what a microphone gives: nothing."""
    ear, voice = Ear(Untold()), Listener()
    ear.attach(voice)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        passing = group.create_task(ear.pass_on())
        await asyncio.sleep(0)
        yield voice
        passing.cancel()


async def test_a_microphone_that_gives_nothing_is_heard_as_silence() -> None:
    """A voice needs it to notice that a turn is over."""
    async with passing_on() as voice:
        await voice.hears.wait()
        assert voice.heard == [silence(FILL_MS)]


async def test_a_loop_that_stood_still_makes_up_no_silence() -> None:
    """What came meanwhile is still on its way to us; silence before it would delay it."""
    async with passing_on() as voice:
        await stand_still()
        assert voice.heard == []
        await voice.hears.wait()  # later, if it goes on like this


async def test_a_loop_that_is_always_late_passes_silence_on_all_the_same() -> None:
    """Or a turn on such a machine would never end."""
    async with passing_on() as voice:
        for _ in range(2):
            await stand_still()
        assert voice.heard == [silence(FILL_MS)]


async def stand_still() -> None:
    """Longer than the loop is waited for; then let everybody run who can."""
    await asyncio.sleep(0)
    time.sleep(FILL_MS / 1000 + 3 * LATE_S)  # noqa: ASYNC251 - the loop stands still: that is the case
    for _ in range(5):
        await asyncio.sleep(0)
