"""The three scripted calls of the demo, each showing something of its own, and the worker that is killed under one.

Anna talks and hangs up. Ben cuts the agent off. Cleo's worker is killed while it speaks, once the other two are gone,
so that nobody else's call is hit; the other worker takes her room over and answers her.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from bridge.caller import wav
from bridge.caller.caller import Caller
from bridge.caller.errors import CallerError, CannotJoin, NotInTime
from bridge.caller.sound import Speech
from deploy.local import signs
from deploy.local.processes import Child
from deploy.local.report import CallMade, Step, What
from deploy.local.stack import Stack
from deploy.local.valkey import Valkey
from pool.journal import DecisionLog
from pool.registry.connect import lease_redis

SEEN_S = 20.0
GREETING_S = 10.0
REPLY_S = 15.0
REPLY_ENDS_S = 60.0
STOPS_S = 6.0
GONE_S = 10.0
"""The agent leaves within a second; a vendor's good-bye is not waited for."""

TAKEN_OVER_S = 30.0
"""A lease lives three seconds. After this nobody will come any more."""

TURN_OVER_MS = 500
"""The agent has finished after so much silence: longer than its pauses, shorter than politeness."""

SILENT_MS = 600
"""Longer than the pauses of speech: an agent that only draws breath when it is cut off has not fallen silent."""

INTO_REPLY_S = 1.4
"""Past the reply's first words, well before its end, and not in the simulator's pause between its words and ours."""

APART_S = 0.5
"""Between one caller's dialling and the next one's."""

RECORDED_S = 180.0

Tell = Callable[[Step], None]
Script = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the calls take place.

    Attributes:
        rooms: What their rooms' names begin with.
        recordings: An existing folder for a WAV of each call.
        counts_on_turns: See `report.Expected.turns`; otherwise a reply that does not come is left out.
        tell: Told of each step.
        fail: Told of a caller and why its script broke off.
    """

    stack: Stack
    rooms: str
    recordings: Path
    counts_on_turns: bool
    tell: Tell
    fail: Callable[[str, str], None]


async def perform(stage: Stage) -> list[CallMade]:
    """Make the three calls. What goes wrong in one is its `problem`; the others go on."""
    hello, interruption = wav.hello(), wav.interruption()
    async with asyncio.TaskGroup() as group:
        anna = _Call(stage, "anna", hello, interruption)
        ben = _Call(stage, "ben", hello, interruption)
        cleo = _Call(stage, "cleo", hello, interruption)
        others = [
            group.create_task(anna.make(anna.talk), name="anna"),
            group.create_task(ben.make(ben.interrupt, after_s=APART_S), name="ben"),
        ]
        last = group.create_task(cleo.make(lambda: cleo.be_taken_over(others), after_s=2 * APART_S), name="cleo")
    return [*(task.result() for task in others), last.result()]


class _Call:
    """One scripted call: its caller, and the steps so far. Used once."""

    def __init__(self, stage: Stage, name: str, hello: Speech, interruption: Speech) -> None:
        self._stage = stage
        self._name = name
        self._hello = hello
        self._interruption = interruption
        self._loop = asyncio.get_running_loop()
        self._room = f"{stage.rooms}{name}"
        self._caller = Caller(
            stage.stack.livekit.url,
            key=stage.stack.livekit.api_key,
            secret=stage.stack.livekit.api_secret,
            room=self._room,
            identity=name,
            record_max_s=RECORDED_S,
        )
        self._steps: list[Step] = []
        self._hung_up_at = 0.0

    async def make(self, script: Script, *, after_s: float = 0.0) -> CallMade:
        """Call, follow a script in the room, hang up."""
        await asyncio.sleep(after_s)
        problem = ""
        try:
            async with self._caller:
                self._step(What.IN_ROOM, self._caller.connected_at, self._caller.connect_began_at, "dialling")
                try:
                    await script()
                finally:
                    self._hung_up_at = self._loop.time()
                    await self._caller.hang_up()
        except CannotJoin as error:
            problem = str(error)
        except CallerError as error:
            problem = f"{error}, after {self._steps[-1].what.value.replace('_', ' ')}"
        if problem:
            self._stage.fail(self._name, problem)
        ended = await self._gone() if self._caller.connected_at else {}
        witness = self._caller.witness
        return CallMade(
            caller=self._name,
            room=self._room,
            steps=tuple(self._steps),
            workers=tuple(signs.claimers_of(self._stage.stack, self._room)),
            agents_max=witness.agents_max,
            audible_max=witness.audible_max,
            overlap_ms=round(witness.overlap_s() * 1000),
            ended=ended,
            recording=await self._save(),
            problem=problem,
        )

    # -- the three scripts

    async def talk(self) -> None:
        """Be greeted, say something, hear the whole reply."""
        await self._be_greeted()
        if await self._ask(What.ANSWERED):
            await self._caller.until_agent_silent(TURN_OVER_MS, REPLY_ENDS_S)

    async def interrupt(self) -> None:
        """Be greeted, say something, and speak into the reply."""
        await self._be_greeted()
        heard_at = await self._ask(What.ANSWERED)
        if heard_at is None:
            return
        await self._until(heard_at + INTO_REPLY_S)
        spoken = await self._caller.say(self._interruption)
        self._step(What.INTERRUPTED, spoken.started_at, detail=f"{INTO_REPLY_S:g} s into the reply")
        with self._optional():
            silent_at = await self._caller.fell_silent(spoken.started_at, SILENT_MS, STOPS_S)
            await self._tell_silence(spoken.started_at, silent_at)

    async def be_taken_over(self, others: list[asyncio.Task[CallMade]]) -> None:
        """Be greeted, wait until the others are gone, lose the agent in mid-sentence, talk to the next one."""
        await self._be_greeted()
        await asyncio.wait(others)
        heard_at = await self._ask(What.ANSWERED)
        if heard_at is not None:
            await self._until(heard_at + INTO_REPLY_S)
        holder = signs.holder_of(self._stage.stack, self._room)
        if holder is None:
            raise NotInTime("no worker was found to hold the room", limit_s=0)
        killed_at = self._loop.time()
        await holder.kill()
        self._step(What.KILLED, killed_at, detail=f"{holder.name}, process {holder.pid}, in mid-sentence")
        await self._next_agent(killed_at, [w for w in self._stage.stack.workers if w is not holder])
        await self._ask(What.ANSWERED_AGAIN)

    # -- their parts

    async def _be_greeted(self) -> None:
        try:
            stay = await self._caller.agent_seen(SEEN_S)
        finally:  # when nobody came, these two say how far it got
            await self._tell_arrival()
        claimed = self._at(What.CLAIMED)
        self._step(What.AGENT_JOINED, stay.seen_at, claimed or self._caller.connected_at, "the claim")
        with self._optional():
            heard_at = await self._caller.agent_heard(GREETING_S)
            self._step(What.GREETED, heard_at, stay.seen_at, "joining")
            await self._caller.until_agent_silent(TURN_OVER_MS, REPLY_ENDS_S)

    async def _tell_arrival(self) -> None:
        stack = self._stage.stack
        claim = await signs.first_said(stack.workers, "claimed", room=self._room)
        await signs.first_said(  # it is told once it is answered: the claim may be told before
            [stack.webhook], "delivery", room=self._room, livekit_event="participant_joined", outcome="accepted"
        )
        delivery = signs.webhook_of(stack, self._room)
        noted_at = self._caller.connect_began_at
        if delivery:
            noted_at, took_ms = delivery
            dialled_at = self._caller.connect_began_at
            self._step(What.WEBHOOK, noted_at, dialled_at, "dialling", detail=f"accepted in {took_ms:.0f} ms")
        if claim:
            worker, line = claim
            since = "the webhook" if delivery else "dialling"
            self._step(What.CLAIMED, signs.clock(line), noted_at, since, detail=f"by {worker.name}")

    async def _ask(self, answered: What) -> float | None:
        """Say something; when the reply was heard, or None when there was none and none may be counted on."""
        spoken = await self._caller.say(self._hello)
        seconds = spoken.ended_at - spoken.started_at
        self._step(What.SPOKE, spoken.ended_at, detail=f"for {seconds:.1f} s")
        with self._optional():
            heard_at = await self._caller.until_agent_audible(REPLY_S, since=spoken.ended_at)
            self._step(answered, heard_at, spoken.ended_at, "the last word")
            return heard_at
        return None

    async def _tell_silence(self, began_at: float, silent_at: float) -> None:
        noticed_at = await self._noticed_at()
        if noticed_at is not None:
            self._step(What.VOICE_NOTICED, noticed_at, began_at, "interrupting", detail="by the voice")
        detail = (
            "" if noticed_at is None else f"{max(0, round((silent_at - noticed_at) * 1000))} ms after it was noticed"
        )
        self._step(What.SILENT, silent_at, began_at, "interrupting", detail=detail)

    async def _noticed_at(self) -> float | None:
        """When the worker was told of the interruption and dropped what was unsaid, from the room's story."""
        if not isinstance(self._stage.stack.redis, Valkey):  # its clock would be another one
            return None
        redis = lease_redis(self._stage.stack.redis.url)
        try:
            story = await DecisionLog(redis).read(self._room)
        except (RedisError, OSError):
            return None
        finally:
            await redis.aclose()
        noted = [decision.at_unix_ms / 1000 for decision in story if decision.event == "barge_in"]
        return time.monotonic() - (time.time() - noted[-1]) if noted else None

    async def _next_agent(self, killed_at: float, workers: list[Child]) -> None:
        try:
            stay = await self._caller.agent_seen(TAKEN_OVER_S, since=killed_at)
        finally:
            claim = await signs.first_said(workers, "claimed", room=self._room)
            if claim:
                worker, line = claim
                self._step(What.CLAIMED_AGAIN, signs.clock(line), killed_at, "kill -9", detail=f"by {worker.name}")
        self._step(What.JOINED_AGAIN, stay.seen_at, killed_at, "kill -9")
        heard_at = await self._caller.agent_heard(GREETING_S, since=killed_at)
        self._step(What.HEARD_AGAIN, heard_at, killed_at, "kill -9")
        await self._caller.until_agent_silent(TURN_OVER_MS, REPLY_ENDS_S)

    async def _gone(self) -> dict[str, object]:
        """Wait for the worker's word that its agent has left; what it said of the call."""
        self._step(What.HUNG_UP, self._hung_up_at)
        stack = self._stage.stack
        said = await signs.first_said(stack.workers, "call_ended", timeout_s=GONE_S, room=self._room)
        if said is None:
            return {}
        worker, line = said
        ending = str(line.facts.get("ending", ""))
        self._step(
            What.AGENT_GONE, signs.clock(line), self._hung_up_at, "hanging up", detail=f"{ending} ({worker.name})"
        )
        return {name: value for name, value in line.facts.items() if name not in ("event", "level", "timestamp")}

    async def _save(self) -> str:
        if self._caller.tape is None or not self._caller.connected_at:
            return ""
        path = self._stage.recordings / f"{self._name}.wav"
        await asyncio.to_thread(self._caller.tape.save, path)
        return path.name

    # -- small things

    def _step(self, what: What, at: float, since_at: float | None = None, since: str = "", *, detail: str = "") -> None:
        took_ms = None if since_at is None else round((at - since_at) * 1000)
        at_ms = round((at - self._caller.connect_began_at) * 1000)
        step = Step(self._name, what, at_ms, took_ms, since, detail)
        self._steps.append(step)
        self._stage.tell(step)

    def _at(self, what: What) -> float | None:
        found = next((step for step in self._steps if step.what is what), None)
        return None if found is None else self._caller.connect_began_at + found.at_ms / 1000

    def _optional(self) -> contextlib.AbstractContextManager[object]:
        """What is inside may fail to happen with a voice of which we do not know what it does."""
        return contextlib.nullcontext() if self._stage.counts_on_turns else contextlib.suppress(NotInTime)

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._loop.time()))
