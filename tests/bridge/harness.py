"""What a test of calls needs: an owner that grants what the test says, and a harness to make calls from."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bridge import Cue, Ending, LinkSpec, Outcome, Said, SessionSpec, Stop, VoiceSpec, carry
from bridge.caller.caller import Caller
from bridge.simulator import Running
from bridge.tokens import agent_token
from deploy.local.livekit_server import LiveKitServer

LIMIT_S = 20.0


@dataclass
class Owner:
    """The owner of the room, as a call sees it: permit and journal, set by the test."""

    speak: bool = True
    join: bool = True
    confirms: bool = True
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared by a test: whoever asks for a confirmation waits until it is set."""
    mint: Callable[[], str] = str
    minted: int = 0
    is_quiet: bool = False
    quiets: list[bool] = field(default_factory=list)
    turns: list[Said] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    def may_speak(self) -> bool:
        return self.speak

    def may_join(self) -> bool:
        return self.join

    def turn_to_join(self) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    def token(self) -> str:
        self.minted += 1
        return self.mint()

    async def confirm(self) -> bool:
        await self.answers.wait()
        return self.confirms

    def connected(self) -> None:
        self.told.set()

    def disconnected(self) -> None:
        self.told.set()

    def event(self, name: str, **facts: int | float | str) -> None:
        self.story.append(name)
        self.told.set()

    def callers(self, present: Mapping[str, int]) -> None:
        return

    def turn(self, said: Said) -> None:
        self.turns.append(said)
        self.told.set()

    def quiet(self, is_quiet: bool) -> None:
        assert is_quiet is not self.is_quiet
        self.is_quiet = is_quiet
        self.quiets.append(is_quiet)
        self.told.set()

    async def until(self, name: str, count: int = 1) -> None:
        """Wait until the call told this step so many times."""
        await self.until_so(lambda: self.story.count(name) >= count)

    async def until_so(self, condition: Callable[[], bool]) -> None:
        """Wait until something told makes this true."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self.told.clear()
                await self.told.wait()


class Standby:
    """A cue that the test gives."""

    def __init__(self) -> None:
        self._ready = asyncio.Event()
        self._given = asyncio.Event()
        self._turns: Sequence[Said] | None = None

    def ready(self) -> None:
        self._ready.set()

    async def wait(self) -> Sequence[Said] | None:
        assert self._ready.is_set()
        await self._given.wait()
        return self._turns

    def give(self, turns: Sequence[Said] | None) -> None:
        """The room, with the turns since; or None: not needed."""
        self._turns = turns
        self._given.set()

    async def until_ready(self) -> None:
        """Wait until whoever stands by has a voice."""
        async with asyncio.timeout(LIMIT_S):
            await self._ready.wait()


@dataclass
class Harness:
    """What a test needs to make calls in one room."""

    livekit: LiveKitServer
    simulator: Running
    room: str = field(default_factory=lambda: f"session-{uuid.uuid4().hex[:8]}")
    owner: Owner = field(default_factory=Owner)
    stop: Stop = field(default_factory=Stop)

    def another(self) -> "Harness":
        """Another owner's harness, for the same room."""
        return Harness(self.livekit, self.simulator, room=self.room)

    def spec(
        self, *, secret: str = "", key: str = "any", voices: tuple[str, ...] = ("alba",), **more: object
    ) -> SessionSpec:
        self.owner.mint = lambda: agent_token(
            self.livekit.api_key,
            secret or self.livekit.api_secret,
            room=self.room,
            identity="voice-agent",
            name="Agent",
            attributes={},
        )
        defaults: dict[str, object] = {"nobody_s": 15.0, "linger_s": 0.5}
        return SessionSpec(
            room=self.room,
            url=self.livekit.url,
            identity="voice-agent",
            voice=VoiceSpec(prompt="You are a test.", greeting="Hello.", return_sentence="Here again.", voices=voices),
            link=LinkSpec(dialect="assemblyai", url=self.simulator.url, key=key),
            **{**defaults, **more},  # type: ignore[arg-type]  # a test's keywords
        )

    def caller(self) -> Caller:
        return Caller(self.livekit.url, room=self.room, key=self.livekit.api_key, secret=self.livekit.api_secret)

    async def carry(self, spec: SessionSpec, cue: Cue | None = None) -> Outcome:
        """One call to its end, the good-bye to the voice included."""
        async with asyncio.TaskGroup() as farewells:
            return await carry(
                spec, permit=self.owner, journal=self.owner, stop=self.stop, farewells=farewells, cue=cue
            )

    @contextlib.asynccontextmanager
    async def call(
        self, spec: SessionSpec | None = None, cue: Cue | None = None
    ) -> AsyncIterator[asyncio.Task[Outcome]]:
        """A call beside the block; at its end the call must have ended, or is ended."""
        async with asyncio.TaskGroup() as group:
            call = group.create_task(self.carry(spec or self.spec(), cue))
            yield call
            self.stop.ask(Ending.STOPPED)
