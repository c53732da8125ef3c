"""The voice's side of a call: a voice session at all times, what is said in it, and what is remembered of it."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterable
from urllib.parse import urlsplit

import structlog

from bridge import metrics
from bridge.call_end import CallEnd
from bridge.ear import Ear
from bridge.errors import VoiceClosed, VoiceError, VoiceMisfit, VoiceRefused
from bridge.mouth import Mouth
from bridge.recap import Memory
from bridge.spec import Ending, Journal, Said, SessionSpec, VoiceSpec
from bridge.voice import Voice
from bridge.voice.events import AgentSaid, CallerSaid, VoiceEnded, VoiceEvent, VoiceFault
from bridge.voice.link import open_voice, say_farewell
from bridge.voice.retry import GiveUp, Retry

log = structlog.get_logger()

HEALTHY_VOICE_S = 10.0
"""A voice session that lived so long counts as a success: the next failure starts the attempts anew."""

MAX_FAULTS_LOGGED = 5
"""Faults told within one call that get a log line."""


class Conversation:
    """Voice sessions one after the other, and the memory that each is begun with. One task: `hold_voice`."""

    def __init__(
        self,
        spec: SessionSpec,
        journal: Journal,
        over: CallEnd,
        mouth: Mouth,
        ear: Ear,
        *,
        farewells: asyncio.TaskGroup,
        stands_by: bool,
    ) -> None:
        """`stands_by`: until `go` the voice hears nothing and nothing of it is heard, and one failure is the end."""
        self._spec = spec
        self._journal = journal
        self._over = over
        self._mouth = mouth
        self._ear = ear
        self._farewells = farewells
        self._stands_by = stands_by
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._memory = Memory(spec.memory)
        self._link: Voice | None = None
        """The session that is ready, None while there is none."""
        self._faults = 0
        self.ready = asyncio.Event()
        """Set once a voice session was ready."""
        self.ready_ms: int | None = None
        self.voice_sessions = 0

    async def hold_voice(self) -> None:
        """Task: keep a voice session open, a fresh one with a recap when one breaks, until the agent hangs up."""
        retry = Retry(self._spec.voice.voices)
        while not self._over.is_set:
            voice = self._voice()
            try:
                link = await open_voice(self._spec.link, voice, retry.voice, farewells=self._farewells)
                await self._converse(link, retry, greets=bool(voice.greeting))
            except VoiceError as error:
                metrics.VOICE_FAILURES.labels(type(error).__name__).inc()
                self._journal.event("voice_failed", code=error.code)
                step = retry.failed(error)
                # Whoever stands by is no help with a voice that fails; the owner's call goes on as it is.
                if isinstance(step, GiveUp) or (self._stands_by and not isinstance(error, VoiceMisfit)):
                    self._over.end(_ending_of(error), error.code)
                    return
                log.warning(
                    "voice_failed",
                    code=error.code,
                    host=urlsplit(self._spec.link.url).hostname,  # no more of it: an address may carry a token
                    next_voice=step.voice,
                    again_in_s=round(step.wait_s, 2),
                )
                await asyncio.sleep(step.wait_s)

    async def go(self, turns: Iterable[Said]) -> None:
        """The room is ours: tell the voice what was said since it was told, and let it hear and be heard."""
        self._stands_by = False
        is_new = False
        for said in turns:
            is_new = self._memory.add(said) is not None or is_new
        link = self._link
        if link is None:
            return  # it just broke: the next session is told all of it
        self._attach(link, owes=False)
        if is_new:
            with contextlib.suppress(VoiceClosed):  # whoever reads the link sees the same, and decides
                await link.instruct(self._voice())

    def _voice(self) -> VoiceSpec:
        """How the next voice session begins: with the opening words until something was heard of the agent, and with
        what was said so far."""
        words = "" if self._mouth.first_sound_at is not None else self._spec.opening_words
        return dataclasses.replace(
            self._spec.voice, greeting=words, prompt=self._memory.extend(self._spec.voice.prompt)
        )

    async def _converse(self, link: Voice, retry: Retry, *, greets: bool) -> None:
        """Follow one voice session to its end; the call is over when the agent hung up.

        Raises:
            VoiceClosed: the link broke, or the peer says the session expired.
        """
        ready_at = self._loop.time()
        self._voice_ready(link, greets=greets)
        try:
            async with contextlib.aclosing(link.events()) as events:
                async for event in events:
                    self._on_voice(event)
        except VoiceClosed:
            await link.abort()
            raise
        except BaseException:
            self._farewells.create_task(say_farewell(link), name="farewell")
            raise
        finally:
            self._link = None
            self._ear.detach()
            self._mouth.detach()
            if self._loop.time() - ready_at > HEALTHY_VOICE_S:
                retry.succeeded()
        await link.abort()
        if self._stands_by:
            raise VoiceClosed("ended_while_standing_by")
        await self._mouth.last_words()
        self._over.end(Ending.AGENT_HUNG_UP)

    def _voice_ready(self, link: Voice, *, greets: bool) -> None:
        self.voice_sessions += 1
        metrics.VOICE_SESSIONS.inc()
        after_ms = int((self._loop.time() - self._began_at) * 1000)
        if self.ready_ms is None:
            self.ready_ms = after_ms
            metrics.VOICE_READY_SECONDS.observe(after_ms / 1000)
        self._journal.event("voice_ready", after_ms=after_ms, voice_session=link.ready.voice_session)
        self._link = link
        if not self._stands_by:
            self._attach(link, owes=greets)
        self.ready.set()

    def _attach(self, link: Voice, *, owes: bool) -> None:
        self._mouth.attach(owes=owes)
        self._ear.attach(link)

    def _on_voice(self, event: VoiceEvent) -> None:
        """One event. Synchronous: nothing may come between a barge-in and its flush."""
        match event:
            case VoiceFault(code="session_expired"):
                raise VoiceClosed("session_expired")
            case VoiceFault():
                self._on_fault(event)
            case VoiceEnded():
                self._journal.event("agent_hangs_up")
        if self._stands_by:
            return  # a voice that speaks unasked speaks into no room
        self._mouth.take(event)
        match event:
            case CallerSaid(text=text):
                self._remember(Said("caller", text))
            case AgentSaid(reply=reply, text=text, interrupted=interrupted):
                self._remember(Said("agent", text, self._mouth.heard_ms(reply) if interrupted else None))

    def _remember(self, said: Said) -> None:
        kept = self._memory.add(said)
        if kept is not None:
            self._journal.turn(kept)

    def _on_fault(self, fault: VoiceFault) -> None:
        """A fault that the peer tells and goes on after: a line for the first few, the counter for all."""
        metrics.VOICE_FAILURES.labels("VoiceFault").inc()
        self._faults += 1
        if self._faults <= MAX_FAULTS_LOGGED:
            log.warning("voice_fault", code=fault.code, param=fault.param)


def _ending_of(error: VoiceError) -> Ending:
    if isinstance(error, VoiceRefused):
        return Ending.VOICE_REFUSED
    return Ending.VOICE_MISFIT if isinstance(error, VoiceMisfit) else Ending.VOICE_LOST
