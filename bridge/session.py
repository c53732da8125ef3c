"""One call: from the join to the leave.

`carry` owns every task of the call and none is alive when it returns, raises or is cancelled. It decides nothing about
who may hold the room: it asks its `Permit`. Every way a call can end is one `Ending`.
"""

import asyncio
import contextlib
import dataclasses
from urllib.parse import urlsplit

import structlog

from bridge import metrics
from bridge.ear import Ear
from bridge.errors import RoomError, RoomRefused, VoiceClosed, VoiceError, VoiceMisfit, VoiceRefused
from bridge.listen import FINAL_REASONS, Person, is_caller
from bridge.mouth import Mouth
from bridge.recap import Memory
from bridge.room import AgentRoom, MicIn, MicOut, Out, PersonIn, PersonOut, Reconnected, Reconnecting, RoomEvent
from bridge.spec import Ending, Journal, Outcome, Permit, Said, SessionSpec, Stop
from bridge.voice.events import AgentSaid, CallerSaid, VoiceEnded, VoiceEvent, VoiceFault
from bridge.voice.link import VoiceLink, dial, say_farewell
from bridge.voice.retry import GiveUp, Retry

log = structlog.get_logger()

HEALTHY_VOICE_S = 10.0
"""A voice session that lived so long counts as a success: the next failure starts the attempts anew."""

MAX_FAULTS_LOGGED = 5
"""Faults told within one call that get a log line."""

PUT_OUT = {
    "ROOM_DELETED": Ending.ROOM_OVER,
    "ROOM_CLOSED": Ending.ROOM_OVER,
    "PARTICIPANT_REMOVED": Ending.REMOVED,
}
"""What LiveKit's reason for putting us out means; any other one is a lost room, but for `EVICTED`."""

EVICTED = "DUPLICATE_IDENTITY"
"""Somebody joined under our identity: our successor, if the room is no longer ours; else one who must not."""


async def carry(
    spec: SessionSpec, *, permit: Permit, journal: Journal, stop: Stop, farewells: asyncio.TaskGroup
) -> Outcome:
    """Carry one call and return how it ended.

    Args:
        permit: Asked before joining and for every frame spoken.
        journal: Told each step; must not block.
        stop: By which the owner of the room ends the call.
        farewells: Owner of the good-byes to the voice peer. They take up to `spec.link.farewell_s`, and the room
            should not wait for them.

    Whatever goes wrong inside is an outcome, not an exception: a bug ends this call as `Ending.BUG` and no other.
    When cancelled, the room is left first (bounded by the SDK's limits), then the cancellation goes on.
    """
    call = _Call(spec, permit, journal, farewells)
    try:
        try:
            await _run(call, stop)
        finally:
            await call.room.leave()
    except* Exception as bugs:  # the boundary of a call: its neighbours in this process go on
        log.error("call_bug", exc_info=bugs)
        call.end(Ending.BUG)
    return call.outcome()


async def _run(call: "_Call", stop: Stop) -> None:
    """The tasks of a call, until it is over."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(call.be_in_room(), name="room"),
            group.create_task(call.hold_voice(), name="voice"),
            group.create_task(call.speak(), name="say"),
            group.create_task(call.mouth.show(call.joined), name="show"),
            group.create_task(call.ear.listen(), name="listen"),
            group.create_task(call.ear.pass_on(), name="pass_on"),
            group.create_task(call.confirm_doubts(), name="confirm"),
            group.create_task(call.obey(stop), name="obey"),
        ]
        await call.over.wait()
        call.mouth.hush()
        for task in tasks:
            task.cancel()


class _Call:
    """The state of one call. What its tasks share is touched between awaits only."""

    def __init__(self, spec: SessionSpec, permit: Permit, journal: Journal, farewells: asyncio.TaskGroup) -> None:
        self._spec = spec
        self._permit = permit
        self._journal = journal
        self._farewells = farewells
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self.room = AgentRoom(spec, permit)
        self.mouth = Mouth(self.room, permit, journal, spec.voice)
        self.ear = Ear(self.room)
        self.joined = asyncio.Event()
        self.over = asyncio.Event()
        self._ending, self._code = Ending.BUG, ""
        self._doubt = asyncio.Event()
        """Set when the connection to the room is in doubt, and with it whether the room is still ours."""
        self._is_evicted = False
        self._refusal = ""
        """Why the room takes no more of our frames, once it does not."""
        self._present: dict[str, int] = {}
        """Callers in the room now: participant sid -> joined, Unix ms."""
        self._served: dict[str, int] = {}
        """Every caller of this call, the same way."""
        self._somebody = asyncio.Event()
        self._alone_until_at: float | None = None
        """When to leave because no caller is there; None while one is."""
        self._out_until_at: float | None = None
        """When to give the room up because LiveKit is out of reach; None while connected."""
        self._memory = Memory()
        self._joined_ms: int | None = None
        self._voice_ready_ms: int | None = None
        self._voice_sessions = 0
        self._faults = 0

    def end(self, ending: Ending, code: str = "") -> None:
        """The first ending counts."""
        if not self.over.is_set():
            self._ending, self._code = ending, code
            self.over.set()

    def outcome(self) -> Outcome:
        """What the call was; counted here, once."""
        metrics.CALLS.labels(self._ending.value).inc()
        metrics.AUDIO_DROPPED_MS.labels("in").inc(self.ear.dropped_ms)
        metrics.AUDIO_DROPPED_MS.labels("out").inc(self.mouth.dropped_ms)
        metrics.FRAMES_MUTED.inc(self.mouth.frames_muted)
        first_sound_at = self.mouth.first_sound_at
        return Outcome(
            ending=self._ending,
            code=self._code,
            served=dict(self._served),
            joined_ms=self._joined_ms,
            voice_ready_ms=self._voice_ready_ms,
            first_sound_ms=None if first_sound_at is None else int((first_sound_at - self._began_at) * 1000),
            call_ms=self._since_start_ms(),
            replies=self.mouth.replies,
            barge_ins=self.mouth.barge_ins,
            voice_sessions=self._voice_sessions,
            dropped_in_ms=self.ear.dropped_ms,
            dropped_out_ms=self.mouth.dropped_ms,
            frames_muted=self.mouth.frames_muted,
        )

    async def speak(self) -> None:
        """Task: say what the voice says, until the room takes no more of it."""
        try:
            await self.mouth.say(self.joined)
        except RoomError as error:  # also what a frame in flight comes to when this process stood still
            self._refusal = error.code
            self._be_out("frames_refused")

    async def obey(self, stop: Stop) -> None:
        """Task: end when the owner of the room says so."""
        self.end(await stop.wait())

    async def confirm_doubts(self) -> None:
        """Task: while our connection is broken somebody else may have been granted the room.

        When the network returns, the SDK resumes by itself, and that evicts a successor: so ask, and leave unless the
        answer is that the room is ours. When it is ours and we were evicted all the same, there is no way back in.
        """
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            if not await self._permit.confirm():
                self.end(Ending.LEASE_LOST, "evicted" if self._is_evicted else "while_reconnecting")
            elif self._is_evicted:
                self.end(Ending.IDENTITY_TAKEN, EVICTED.lower())
            elif self._refusal:
                self.end(Ending.ROOM_LOST, self._refusal)

    async def be_in_room(self) -> None:
        """Task: join, publish, and follow who comes and goes until nobody is left to serve."""
        if not self._permit.may_join():
            self.end(Ending.LEASE_LOST, "not_joined")
            return
        try:
            sid, people = await self.room.join()
            if self._spec.sid is not None and sid != self._spec.sid:
                self.end(Ending.WRONG_LIFE)
                return
            await self.room.publish()
        except RoomError as error:
            self.end(Ending.ROOM_REFUSED if isinstance(error, RoomRefused) else Ending.ROOM_UNREACHABLE, error.code)
            return
        self._joined_ms = self._since_start_ms()
        metrics.JOIN_SECONDS.observe(self._joined_ms / 1000)
        self._permit.connected()
        self._journal.event("joined", after_ms=self._joined_ms)
        self._alone_until_at = self._loop.time() + self._spec.nobody_s
        for person in people:
            self._on_room(PersonIn(person))
        self.joined.set()
        while (event := await self._next_room_event()) is not None:
            self._on_room(event)

    async def hold_voice(self) -> None:
        """Task: keep a voice session open, a fresh one with a recap when one breaks, until the agent hangs up."""
        if not self._spec.is_awaited:
            await self._somebody.wait()
        retry = Retry(self._spec.voice.voices)
        voice = self._spec.voice
        while not self.over.is_set():
            try:
                link = await dial(self._spec.link, voice, retry.voice, farewells=self._farewells)
                await self._converse(link, retry)
            except VoiceError as error:
                step = retry.failed(error)
                metrics.VOICE_FAILURES.labels(type(error).__name__).inc()
                self._journal.event("voice_failed", code=error.code)
                if isinstance(step, GiveUp):
                    self.end(_ending_of(step.error), step.error.code)
                    return
                log.warning(
                    "voice_failed",
                    code=error.code,
                    host=urlsplit(self._spec.link.url).hostname,  # no more of it: an address may carry a token
                    next_voice=step.voice,
                    again_in_s=round(step.wait_s, 2),
                )
                await asyncio.sleep(step.wait_s)
            if self.mouth.first_sound_at is not None:  # greeted; the next session goes on where this one stopped
                prompt = self._memory.extend(self._spec.voice.prompt)
                voice = dataclasses.replace(self._spec.voice, greeting="", prompt=prompt)

    async def _converse(self, link: VoiceLink, retry: Retry) -> None:
        """Follow one voice session to its end; the call is over when the agent hung up.

        Raises:
            VoiceClosed: the link broke, or the peer says the session expired.
        """
        ready_at = self._loop.time()
        self._voice_ready(link)
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
            self.ear.detach()
            self.mouth.detach()
            if self._loop.time() - ready_at > HEALTHY_VOICE_S:
                retry.succeeded()
        await link.abort()
        await self.mouth.last_words()
        self.end(Ending.AGENT_HUNG_UP)

    def _voice_ready(self, link: VoiceLink) -> None:
        self._voice_sessions += 1
        metrics.VOICE_SESSIONS.inc()
        after_ms = self._since_start_ms()
        if self._voice_ready_ms is None:
            self._voice_ready_ms = after_ms
            metrics.VOICE_READY_SECONDS.observe(after_ms / 1000)
        self._journal.event("voice_ready", after_ms=after_ms, voice_session=link.ready.voice_session)
        self.mouth.attach()
        self.ear.attach(link)

    def _on_voice(self, event: VoiceEvent) -> None:
        """One event. Synchronous: nothing may come between a barge-in and its flush."""
        self.mouth.take(event)
        match event:
            case CallerSaid(text=text):
                self._memory.add(Said("caller", text))
            case AgentSaid(text=text, interrupted=interrupted):
                self._memory.add(Said("agent", text, 0 if interrupted else None))
            case VoiceFault(code="session_expired"):
                raise VoiceClosed("session_expired")
            case VoiceFault():
                self._on_fault(event)
            case VoiceEnded():
                self._journal.event("agent_hangs_up")

    def _on_fault(self, fault: VoiceFault) -> None:
        """A fault that the peer tells and goes on after: a line for the first few, the counter for all."""
        metrics.VOICE_FAILURES.labels("VoiceFault").inc()
        self._faults += 1
        if self._faults <= MAX_FAULTS_LOGGED:
            log.warning("voice_fault", code=fault.code, param=fault.param)

    async def _next_room_event(self) -> RoomEvent | None:
        """The next event, or None when a deadline passed first, which ends the call."""
        deadlines = [
            (self._began_at + self._spec.max_call_s, Ending.LIMIT_REACHED),
            (self._out_until_at, Ending.ROOM_LOST),
            (self._alone_until_at, Ending.CALLER_LEFT if self._served else Ending.NOBODY_THERE),
        ]
        at, ending = min(((at, ending) for at, ending in deadlines if at is not None), key=lambda pair: pair[0])
        try:
            async with asyncio.timeout_at(at):
                return await self.room.next_event()
        except TimeoutError:
            self.end(ending, "deadline")
            return None

    def _on_room(self, event: RoomEvent) -> None:
        match event:
            case PersonIn(person=person):
                if is_caller(person, agent_identity=self._spec.identity):
                    self._caller_in(person)
                else:  # never a caller, or no longer: permissions can be taken away
                    self._person_out(person.sid, "")
            case PersonOut(sid=sid, reason=reason):
                self._person_out(sid, reason)
            case MicIn():
                self.ear.mic_in(event)
            case MicOut(track_sid=track_sid):
                self.ear.mic_out(track_sid)
            case Reconnecting():
                self._be_out("reconnecting")
            case Reconnected():
                self.mouth.is_out = False
                self._out_until_at = None
                self._permit.connected()
                self._journal.event("reconnected")
            case Out(reason=reason) if reason == EVICTED:
                self._is_evicted = True
                self._be_out("evicted")
            case Out(reason=reason):
                self.end(PUT_OUT.get(reason, Ending.ROOM_LOST), reason.lower())

    def _be_out(self, how: str) -> None:
        self.mouth.is_out = True
        self._out_until_at = self._loop.time() + self._spec.out_of_room_s
        self._permit.disconnected()
        self._journal.event(how)
        self._doubt.set()

    def _caller_in(self, person: Person) -> None:
        self._present[person.sid] = self._served[person.sid] = person.joined_unix_ms
        self._alone_until_at = None
        self._somebody.set()
        self.ear.caller_in(person.sid)
        self._journal.callers(self._present)

    def _person_out(self, sid: str, reason: str) -> None:
        self.ear.person_out(sid)
        if self._present.pop(sid, None) is None:
            return
        self._journal.callers(self._present)
        if self._present:
            return
        if reason in FINAL_REASONS:
            self.end(Ending.ROOM_OVER if reason == "ROOM_DELETED" else Ending.CALLER_LEFT)
        else:
            self._alone_until_at = self._loop.time() + self._spec.linger_s
            self._journal.event("lingering", for_s=self._spec.linger_s)

    def _since_start_ms(self) -> int:
        return int((self._loop.time() - self._began_at) * 1000)


def _ending_of(error: VoiceError) -> Ending:
    if isinstance(error, VoiceRefused):
        return Ending.VOICE_REFUSED
    return Ending.VOICE_MISFIT if isinstance(error, VoiceMisfit) else Ending.VOICE_LOST
