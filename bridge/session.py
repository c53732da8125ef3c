"""One call: audio both ways between one room and one voice, from the join to the leave.

`carry` owns every task of the call and none is alive when it returns, raises or is cancelled. It decides nothing about
who may hold the room: it asks its `Permit`. Every way a call can end is one `Ending`.
"""

import asyncio
import contextlib
import dataclasses
from dataclasses import dataclass

import structlog

from bridge import metrics
from bridge.audio import SILENCE_DBFS, Backlog, level_dbfs, silence
from bridge.errors import (
    RoomError,
    RoomRefused,
    VoiceClosed,
    VoiceError,
    VoiceMisfit,
    VoiceRefused,
)
from bridge.listen import FINAL_REASONS, Solo, is_caller
from bridge.playout import Playout
from bridge.recap import Memory, Said
from bridge.room import (
    AgentRoom,
    MicIn,
    MicOut,
    Out,
    PersonIn,
    PersonOut,
    Reconnected,
    Reconnecting,
    RoomEvent,
)
from bridge.spec import Ending, Journal, Outcome, Permit, SessionSpec, Stop, VoiceSpec
from bridge.turn import Beat, Floor, Turn, beat_of
from bridge.voice.events import AgentSaid, CallerSaid, ReplyAudio, ReplyStarted, VoiceEnded, VoiceEvent, VoiceFault
from bridge.voice.link import VoiceLink, dial
from bridge.voice.retry import GiveUp, Retry

log = structlog.get_logger()

FILL_MS = 100
"""A microphone that sends nothing for so long (muted, not published) is heard as silence: the voice peer needs trailing
silence to notice that a turn is over."""

HEALTHY_VOICE_S = 10.0
"""A voice session that lived so long counts as a success: the next failure starts the attempts anew."""

UNHEARD_S = 2.0
"""How long the first word waits for somebody to subscribe to the agent's track. Then it is said anyway."""

LATE_MS = 60
"""Speech waiting beyond this means that we are behind the voice."""

LAST_WORDS_S = 3.0
"""How long what the agent still has to say may take after it hung up."""

EVICTIONS = {
    "DUPLICATE_IDENTITY": Ending.EVICTED,
    "ROOM_DELETED": Ending.ROOM_OVER,
    "ROOM_CLOSED": Ending.ROOM_OVER,
    "PARTICIPANT_REMOVED": Ending.REMOVED,
}
"""What LiveKit's reason for putting us out means; any other one is a lost room."""


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
    call = _Call(spec, permit, journal, stop, farewells)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(call.speak_with_voice(), name="voice"),
                group.create_task(call.be_in_room(group), name="room"),
                group.create_task(call.say(), name="say"),
                group.create_task(call.pass_on(), name="pass_on"),
                group.create_task(call.show(), name="show"),
                group.create_task(call.obey(), name="obey"),
            ]
            await call.over.wait()
            call.hush()
            for task in [*tasks, *call.ears]:
                task.cancel()
    except* Exception as bugs:  # the boundary of a call: its neighbours in this process go on
        for bug in bugs.exceptions:
            log.error("call_bug", exc_info=bug)
        call.end(Ending.BUG)
    finally:
        await call.leave()
    return call.outcome()


@dataclass(slots=True)
class _Counts:
    joined_ms: int | None = None
    voice_ready_ms: int | None = None
    first_frame_ms: int | None = None
    replies: int = 0
    barge_ins: int = 0
    voice_sessions: int = 0
    frames_muted: int = 0


class _Call:
    """The state of one call. Each public coroutine is one task; what they share is touched between awaits only."""

    def __init__(
        self, spec: SessionSpec, permit: Permit, journal: Journal, stop: Stop, farewells: asyncio.TaskGroup
    ) -> None:
        self._spec = spec
        self._permit = permit
        self._journal = journal
        self._stop = stop
        self._farewells = farewells
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self.over = asyncio.Event()
        self._ending: Ending = Ending.BUG
        self._code = ""
        self._counts = _Counts()
        # The room
        self._joined = asyncio.Event()
        self._someone = asyncio.Event()
        self._room = AgentRoom(spec)
        self._present: dict[str, int] = {}
        """Callers in the room now: participant sid -> joined, Unix ms."""
        self._served: dict[str, int] = {}
        """Every caller of this call, the same way."""
        self._alone_until_at: float | None = None
        """When to leave because no caller is there; None while one is."""
        self._out_until_at: float | None = None
        """When to give the room up because LiveKit is out of reach; None while connected."""
        self._solo = Solo()
        self._mics: dict[str, MicIn] = {}
        self._hearing: str | None = None
        self.ears: list[asyncio.Task[None]] = []
        # The voice
        self._link: VoiceLink | None = None
        self._memory = Memory()
        self._turn = Turn(barge_in=_barge_in(spec.voice))
        # Between them
        self._playout = Playout()
        self._audible = False
        """Whether the open reply was heard yet; a reply opens up to two seconds before its first sound."""
        self._speech = asyncio.Event()
        self._all_said = asyncio.Event()
        """Set while everything that may be handed over has been."""
        self._backlog = Backlog()
        self._heard = asyncio.Event()
        self._state = "initializing"
        self._state_changed = asyncio.Event()

    # --- endings --------------------------------------------------------------------

    def end(self, ending: Ending, code: str = "") -> None:
        """The first ending counts."""
        if not self.over.is_set():
            self._ending, self._code = ending, code
            self.over.set()

    def hush(self) -> None:
        """Stop playing, now."""
        self._playout.flush(ahead_ms=self._room.clear())

    async def leave(self) -> None:
        """Leave the room, whatever state it is in."""
        await self._room.leave()

    def outcome(self) -> Outcome:
        """What the call was."""
        dropped_out_ms, dropped_in_ms = self._playout.dropped_ms, self._backlog.dropped_ms
        metrics.CALLS.labels(self._ending.value).inc()
        metrics.AUDIO_DROPPED_MS.labels("in").inc(dropped_in_ms)
        metrics.AUDIO_DROPPED_MS.labels("out").inc(dropped_out_ms)
        metrics.FRAMES_MUTED.inc(self._counts.frames_muted)
        return Outcome(
            ending=self._ending,
            code=self._code,
            served=dict(self._served),
            call_ms=self._since_start_ms(),
            dropped_in_ms=dropped_in_ms,
            dropped_out_ms=dropped_out_ms,
            **{field.name: getattr(self._counts, field.name) for field in dataclasses.fields(_Counts)},
        )

    async def obey(self) -> None:
        """Task: end when the owner of the room says so."""
        self.end(await self._stop.wait())

    def _since_start_ms(self) -> int:
        return int((self._loop.time() - self._began_at) * 1000)

    # --- the room -------------------------------------------------------------------

    async def be_in_room(self, group: asyncio.TaskGroup) -> None:
        """Task: join, publish, and follow who comes and goes until nobody is left to serve."""
        if not self._permit.may_join():
            self.end(Ending.LEASE_LOST, "not_joined")
            return
        try:
            sid = await self._room.join()
            if self._spec.sid is not None and sid != self._spec.sid:
                self.end(Ending.WRONG_LIFE)
                return
            await self._room.publish()
        except RoomError as error:
            self.end(Ending.ROOM_REFUSED if isinstance(error, RoomRefused) else Ending.ROOM_UNREACHABLE, error.code)
            return
        self._counts.joined_ms = self._since_start_ms()
        metrics.JOIN_SECONDS.observe(self._counts.joined_ms / 1000)
        self._journal.event("joined", after_ms=self._counts.joined_ms)
        self._alone_until_at = self._loop.time() + self._spec.nobody_s
        self._joined.set()
        self._show_ready()
        while (event := await self._next_room_event()) is not None:
            self._on_room(event, group)

    async def _next_room_event(self) -> RoomEvent | None:
        """The next event, or None when a deadline passed first, which ends the call."""
        deadlines = {
            Ending.LIMIT_REACHED: self._began_at + self._spec.max_call_s,
            Ending.ROOM_LOST: self._out_until_at,
            Ending.CALLER_LEFT if self._served else Ending.NOBODY_THERE: self._alone_until_at,
        }
        at, ending = min((at, ending.value) for ending, at in deadlines.items() if at is not None)
        try:
            async with asyncio.timeout_at(at):
                return await self._room.next_event()
        except TimeoutError:
            self.end(Ending(ending), "deadline")
            return None

    def _on_room(self, event: RoomEvent, group: asyncio.TaskGroup) -> None:
        match event:
            case PersonIn(person=person):
                if is_caller(person, agent_identity=self._spec.identity):
                    self._caller_in(person.sid, person.joined_unix_ms)
                    self._choose_ear(group)
            case PersonOut(sid=sid, reason=reason):
                self._solo.gone(sid)
                self._choose_ear(group)
                if self._present.pop(sid, None) is not None:
                    self._caller_out(reason)
            case MicIn():
                self._mics[event.track_sid] = event
                self._choose_ear(group)
            case MicOut(track_sid=track_sid):
                self._mics.pop(track_sid, None)
                self._solo.removed(track_sid)
                self._choose_ear(group)
            case Reconnecting():
                self._out_until_at = self._loop.time() + self._spec.out_of_room_s
                self._journal.event("reconnecting")
                self.ears.append(group.create_task(self._confirm(), name="confirm"))
            case Reconnected():
                self._out_until_at = None
                self._journal.event("reconnected")
            case Out(reason=reason):
                self.end(EVICTIONS.get(reason, Ending.ROOM_LOST), reason.lower())

    def _caller_in(self, sid: str, joined_unix_ms: int) -> None:
        self._present[sid] = self._served[sid] = joined_unix_ms
        self._alone_until_at = None
        self._someone.set()
        self._journal.callers(self._present)

    def _caller_out(self, reason: str) -> None:
        self._journal.callers(self._present)
        if self._present:
            return
        if reason in FINAL_REASONS:
            self.end(Ending.CALLER_LEFT)
        else:
            self._alone_until_at = self._loop.time() + self._spec.linger_s
            self._journal.event("lingering", for_s=self._spec.linger_s)

    async def _confirm(self) -> None:
        """Out of the room for a moment: a returning network would let our own resume evict a successor. Ask first."""
        if not await self._permit.confirm():
            self.end(Ending.LEASE_LOST, "while_reconnecting")

    def _choose_ear(self, group: asyncio.TaskGroup) -> None:
        """Hear the microphone that `listen` picks; stop hearing any other one."""
        for mic in self._mics.values():
            if mic.participant_sid in self._present:
                self._solo.added(mic.track_sid, mic.participant_sid)
        chosen = self._solo.current
        if chosen == self._hearing:
            return
        self._hearing = chosen
        for ear in self.ears:
            if ear.get_name() == "ear":
                ear.cancel()
        self.ears = [task for task in self.ears if not task.done()]
        if chosen is not None:
            self.ears.append(group.create_task(self._hear(self._mics[chosen]), name="ear"))

    async def _hear(self, mic: MicIn) -> None:
        """Task, one a microphone: its frames into the backlog."""
        async with contextlib.aclosing(self._room.hear(mic)) as frames:
            async for frame in frames:
                self._backlog.push(frame, listening=self._link is not None)
                self._heard.set()

    # --- the voice ------------------------------------------------------------------

    async def speak_with_voice(self) -> None:
        """Task: keep a voice session open, a fresh one with a recap when one breaks, until the agent hangs up."""
        if not self._spec.is_awaited:
            await self._someone.wait()
        retry = Retry(self._spec.voice.voices)
        voice = self._spec.voice
        while True:
            try:
                link = await dial(self._spec.link, voice, retry.voice)
                if await self._converse(link, retry):
                    return
            except VoiceError as error:
                step = retry.failed(error)
                metrics.VOICE_FAILURES.labels(error.code).inc()
                self._journal.event("voice_failed", code=error.code)
                if isinstance(step, GiveUp):
                    self.end(_voice_ending(step.error), step.error.code)
                    return
                log.warning("voice_failed", code=error.code, param=getattr(error, "param", ""), again_in_s=step.wait_s)
                await asyncio.sleep(step.wait_s)
            if self._counts.voice_sessions:
                voice = dataclasses.replace(
                    self._spec.voice, greeting="", prompt=self._memory.extend(self._spec.voice.prompt)
                )

    async def _converse(self, link: VoiceLink, retry: Retry) -> bool:
        """Follow one voice session to its end. Return whether the agent hung up.

        Raises:
            VoiceClosed: the link broke, or the peer says the session expired.
        """
        self._voice_ready(link)
        began_at = self._loop.time()
        hung_up = False
        try:
            async for event in link.events():
                if isinstance(event, VoiceEnded):
                    hung_up = True
                    break
                self._on_voice(event)
        finally:
            self._link = None
            self._backlog.away()
            self._turn = Turn(barge_in=_barge_in(self._spec.voice))
            self._playout.finish()
            self._farewells.create_task(_say_farewell(link, polite=not hung_up), name="farewell")
            if self._loop.time() - began_at > HEALTHY_VOICE_S:
                retry.succeeded()
        if hung_up:
            await self._last_words()
            self.end(Ending.AGENT_HUNG_UP)
        return hung_up

    def _voice_ready(self, link: VoiceLink) -> None:
        self._link = link
        self._counts.voice_sessions += 1
        metrics.VOICE_SESSIONS.inc()
        if self._counts.voice_ready_ms is None:
            self._counts.voice_ready_ms = self._since_start_ms()
            metrics.VOICE_READY_SECONDS.observe(self._counts.voice_ready_ms / 1000)
        self._journal.event("voice_ready", after_ms=self._since_start_ms(), voice_session=link.ready.voice_session)
        self._heard.set()
        self._show_ready()

    def _on_voice(self, event: VoiceEvent) -> None:
        """One event. Synchronous: nothing may come between a barge-in and its flush."""
        match event:
            case ReplyAudio(reply=reply, pcm=pcm):
                if self._playout.push(reply, pcm):
                    self._all_said.clear()
                    self._speech.set()
            case CallerSaid(text=text):
                self._memory.add(Said("caller", text))
            case AgentSaid(text=text, interrupted=interrupted):
                self._memory.add(Said("agent", text, cut=interrupted))
            case VoiceFault(code=code, param=param):
                log.warning("voice_fault", code=code, param=param)
                metrics.VOICE_FAILURES.labels(code).inc()
                if code == "session_expired":
                    raise VoiceClosed("session_expired")
            case ReplyStarted():
                self._audible = False
                self._counts.replies += 1
            case _:
                pass
        beat = beat_of(event)
        if beat is not None:
            self._on_beat(beat)

    def _on_beat(self, beat: Beat) -> None:
        if self._turn.advance(beat):
            ahead_ms = self._room.clear()
            cut = ahead_ms > 0 or self._playout.queued_ms > 0 or beat is Beat.REPLY_INTERRUPTED
            heard_ms = self._playout.flush(ahead_ms=ahead_ms)
            if cut and self._audible:
                self._audible = False
                self._counts.barge_ins += 1
                metrics.BARGE_INS.inc()
                self._journal.event("barge_in", heard_ms=heard_ms)
        if beat is Beat.REPLY_ENDED:
            self._playout.finish()
            self._speech.set()
        self._show_floor()

    async def _last_words(self) -> None:
        """Let the caller hear what the agent said before it hung up, within reason."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                self._speech.set()
                await self._all_said.wait()
                await self._room.played_out()
        except TimeoutError:
            pass  # longer than a few seconds is a peer that sent ahead of time

    # --- between them ---------------------------------------------------------------

    async def say(self) -> None:
        """Task: hand the agent's speech to the room, frame by frame, as long as the room is surely ours."""
        await self._joined.wait()
        await self._room.listened_to(limit_s=UNHEARD_S)
        while True:
            await self._speech.wait()
            frame = self._playout.take()
            if frame is None:
                self._speech.clear()
                self._all_said.set()
                self._show_floor()
                continue
            if self._out_until_at is not None or not self._permit.may_speak():
                self._counts.frames_muted += 1
                continue
            if not self._audible:
                if level_dbfs(frame) > SILENCE_DBFS:
                    self._first_sound()
                elif self._playout.queued_ms > LATE_MS:
                    continue  # behind: the silence that opens a reply is where time can be won back unheard
            await self._room.play(frame)

    def _first_sound(self) -> None:
        self._audible = True
        if self._counts.first_frame_ms is None:
            self._counts.first_frame_ms = self._since_start_ms()
            self._journal.event("first_sound", after_ms=self._counts.first_frame_ms)
        self._show_floor()

    async def pass_on(self) -> None:
        """Task: pass the caller's words to the voice, and silence where the microphone gives none."""
        while True:
            try:
                async with asyncio.timeout(FILL_MS / 1000):
                    await self._heard.wait()
            except TimeoutError:
                if self._link is not None and not self._backlog.queued_ms:
                    self._backlog.push(silence(FILL_MS), listening=True)
            self._heard.clear()
            while self._link is not None and (frame := self._backlog.pop(now=self._loop.time())) is not None:
                try:
                    await self._link.send_audio(frame)
                except VoiceClosed:
                    self._link = None  # the reader of the link sees the same and decides

    def _show_ready(self) -> None:
        if self._link is not None and self._counts.joined_ms is not None:
            self._show_floor()

    def _show_floor(self) -> None:
        """The agent's state as front-ends know it, from the floor and what is still to be heard."""
        if self._counts.joined_ms is None or not self._counts.voice_sessions:
            return
        if self._audible and (self._turn.floor is Floor.AGENT or self._playout.queued_ms):
            state = "speaking"
        else:
            state = "thinking" if self._turn.floor is Floor.AGENT else "listening"
        if state != self._state:
            self._state = state
            self._state_changed.set()

    async def show(self) -> None:
        """Task: tell front-ends the newest state; one that changed again meanwhile is skipped."""
        while True:
            await self._state_changed.wait()
            self._state_changed.clear()
            if not await self._room.show({"lk.agent.state": self._state}):
                self._state_changed.set()


def _barge_in(voice: VoiceSpec) -> bool:
    return (voice.turn_detection or {}).get("interrupt_response") is not False


def _voice_ending(error: VoiceError) -> Ending:
    if isinstance(error, VoiceRefused):
        return Ending.VOICE_REFUSED
    return Ending.VOICE_MISFIT if isinstance(error, VoiceMisfit) else Ending.VOICE_LOST


async def _say_farewell(link: VoiceLink, *, polite: bool) -> None:
    """End the vendor's session, outside the path of the call."""
    if polite and await link.farewell():
        return
    if polite:
        metrics.UNACKNOWLEDGED_FAREWELLS.inc()
    await link.abort()
