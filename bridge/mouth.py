"""The agent's side of a call: what the voice says, into the room, for as long as the room is surely ours."""

import asyncio
import contextlib
from functools import partial
from time import perf_counter

from bridge import metrics
from bridge.audio import SILENCE_DBFS, level_dbfs
from bridge.playout import Playout
from bridge.quiet import QuietMoment
from bridge.room import AgentRoom
from bridge.spec import Journal, Permit, VoiceSpec
from bridge.turn import Floor, FloorEvent, Turn, floor_event_of
from bridge.voice.events import ReplyAudio, ReplyDone, ReplyStarted, VoiceEvent

UNHEARD_S = 10.0
"""How long the first word waits for somebody to subscribe to the agent's track. Then it is said anyway. Of twenty who
came to a full machine at once some subscribed six seconds later; after 2 s their greeting was said to nobody (seen)."""

LATE_MS = 60
"""Speech waiting beyond this means that we are behind the voice."""

LAST_WORDS_S = 3.0
"""How long what the agent still has to say may take after it hung up."""

FIRST_STATE = "initializing"
"""What an agent shows from its join on, until something is known."""


class Mouth:
    """Speaks replies, falls silent when the caller cuts in, and shows front-ends what it does.

    Three tasks: `say`, `show` and `tell_quiet`. `take` is synchronous: nothing may come between a barge-in and its
    flush.
    """

    def __init__(self, permit: Permit, journal: Journal, voice: VoiceSpec) -> None:
        self._room: AgentRoom | None = None
        self._entered = asyncio.Event()
        """Set once there is a room to speak into."""
        self._heard_in: AgentRoom | None = None
        """The room in which somebody subscribed to our track, or was waited for long enough."""
        self._permit = permit
        self._journal = journal
        self._barge_in = (voice.turn_detection or {}).get("interrupt_response") is not False
        self._turn = Turn(barge_in=self._barge_in)
        self._playout = Playout()
        self._quiet_moment = QuietMoment()
        self._is_quiet = False
        self._moved = asyncio.Event()
        """Set when something changed that may begin or end a quiet moment."""
        self._is_shut = False
        """Nothing is said any more: the call is over."""
        self._speech = asyncio.Event()
        self._all_said = asyncio.Event()
        """Set while everything that may be handed over has been."""
        self._open_reply = ""
        self._is_hushed = False
        """Whether speech is being held back because the room is not surely ours."""
        self._audible = False
        """Whether the open reply was heard yet; a reply opens up to two seconds before its first sound."""
        self._is_fresh = False
        """Whether the open reply sent no audio yet."""
        self._came_at: float | None = None
        """When a reply's first audio came that need not wait for anything; None once it was handed over."""
        self._state = FIRST_STATE
        self._state_changed = asyncio.Event()
        self.is_out = False
        """The room is out of reach at the moment: nothing is said into it."""
        self.first_sound_at: float | None = None
        self.replies = 0
        self.barge_ins = 0
        self.frames_muted = 0

    @property
    def dropped_ms(self) -> int:
        """Milliseconds of speech dropped because the voice sent a minute ahead."""
        return self._playout.dropped_ms

    def enter(self, room: AgentRoom) -> None:
        """Speak into this room from now on: we are in it, and our track is published."""
        self._room = room
        self._came_at = None
        self._entered.set()
        if self._state != FIRST_STATE:  # that one our token says
            self._state_changed.set()
        self._moved.set()

    def attach(self, *, owes: bool) -> None:
        """A voice session is ready: its floor is nobody's. `owes`: it is to speak first."""
        self._turn = Turn(barge_in=self._barge_in)
        self._quiet_moment.attached(owes=owes, now=asyncio.get_running_loop().time())
        self._show_floor()

    def detach(self) -> None:
        """The voice session is over; what it said is still to be heard to its end."""
        self._turn = Turn(barge_in=self._barge_in)
        self._quiet_moment.detached()
        self._playout.finish()
        self._speech.set()
        self._show_floor()

    def heard_ms(self, reply: str) -> int:
        """Milliseconds of a reply that the caller has heard, or had when it was cut off."""
        return self._playout.heard_ms(reply, ahead_ms=self._ahead_ms())

    def take(self, event: VoiceEvent) -> None:
        """One event of the voice."""
        came_at = perf_counter()
        if isinstance(event, ReplyAudio):
            need_not_wait = self._is_fresh and self._goes_straight_out()
            if self._playout.push(event.reply, event.pcm):
                if need_not_wait:
                    self._came_at = came_at
                self._is_fresh = False
                self._all_said.clear()
                self._speech.set()
                self._note_quiet(False)
            return
        change = floor_event_of(event)
        if change is None:
            return
        surprises = self._turn.surprises
        self._quiet_moment.take(change, now=asyncio.get_running_loop().time())
        if self._turn.advance(change):
            self._flush(change, came_at=came_at)
        if self._turn.surprises > surprises:
            metrics.VOICE_SURPRISES.inc()
        match event:
            case ReplyStarted(reply=reply):
                self._open_reply = reply
                self._is_fresh = True
                self._audible = False
                self.replies += 1
            case ReplyDone():
                self._open_reply = ""
                self._playout.finish()
                self._speech.set()
        self._show_floor()

    def hush(self) -> None:
        """Stop playing, now and for good."""
        self._is_shut = True
        self._playout.flush(ahead_ms=self._clear(), open_reply=self._open_reply)

    async def last_words(self) -> None:
        """Let the caller hear what the agent said before it hung up, within reason."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                self._speech.set()
                await self._all_said.wait()
                if self._room is not None:
                    await self._room.played_out()
        except TimeoutError:
            return  # a peer that sent that far ahead of time is cut

    async def say(self) -> None:
        """Task: hand speech to the room, frame by frame, once we are in and somebody listens.

        Raises:
            RoomUnreachable: the room takes no frames any more. Begun again, it goes on with the next frame.
        """
        await self._entered.wait()
        while True:
            room = await self._room_with_ears()
            await self._speech.wait()
            if room is not self._room:
                continue
            frame = self._playout.take()
            if frame is None or self._is_shut:
                self._speech.clear()
                self._all_said.set()
                self._show_floor()
            elif self.is_out or not self._permit.may_speak():
                self._hold_back()
            elif self._is_worth_saying(frame):
                self._is_hushed = False
                await self._hand_over(room, frame)

    async def show(self) -> None:
        """Task: tell front-ends the newest state; one that changed again meanwhile is skipped."""
        await self._entered.wait()
        while True:
            await self._state_changed.wait()
            self._state_changed.clear()
            if self._room is not None and not await self._room.show({"lk.agent.state": self._state}):
                self._state_changed.set()

    async def tell_quiet(self) -> None:
        """Task: tell the journal when nobody speaks any more. That somebody does is told where it happens."""
        await self._entered.wait()
        while True:
            self._moved.clear()
            wait_s = self._quiet_in_s()
            self._note_quiet(wait_s == 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s or None):
                    await self._moved.wait()

    async def _hand_over(self, room: AgentRoom, frame: bytes) -> None:
        """Play a frame, and count what the first one of a reply took from its coming to the SDK's being given it."""
        came_at, self._came_at = self._came_at, None
        try:
            await room.play(frame, handed_over=partial(_observe_reply, came_at) if came_at is not None else None)
        finally:
            # Not before: to tell front-ends that we speak took up to 3 ms of the reply's delay (measured, 2026-11-28).
            if self._audible and self._state != "speaking":
                self._show_floor()

    def _goes_straight_out(self) -> bool:
        """Whether audio that comes now waits for nothing but us: nothing is before it, and somebody listens."""
        return (
            self._room is not None
            and self._room is self._heard_in
            and not self.is_out
            and not self._playout.queued_ms
            and not self._room.ahead_ms
        )

    async def _room_with_ears(self) -> AgentRoom:
        """The room, once somebody in it heard of our track: at once, unless the room is a new one."""
        while (room := self._room) is not self._heard_in:
            assert room is not None  # entered
            await room.listened_to(limit_s=UNHEARD_S)
            if room is self._room:
                self._heard_in = room
        assert room is not None
        return room

    def _quiet_in_s(self) -> float | None:
        if self._playout.queued_ms or not self._entered.is_set():
            return None
        now = asyncio.get_running_loop().time()
        return self._quiet_moment.comes_in_s(self._turn.floor, playing_s=self._ahead_ms() / 1000, now=now)

    def _note_quiet(self, is_quiet: bool) -> None:
        if is_quiet != self._is_quiet:
            self._is_quiet = is_quiet
            self._journal.quiet(is_quiet)

    def _ahead_ms(self) -> int:
        return self._room.ahead_ms if self._room is not None else 0

    def _clear(self) -> int:
        return self._room.clear() if self._room is not None else 0

    def _hold_back(self) -> None:
        """One frame not said; with the first one, what was handed over before and is still to be sent goes as well."""
        self.frames_muted += 1
        self._came_at = None
        if not self._is_hushed:
            self._is_hushed = True
            self._clear()

    def _is_worth_saying(self, frame: bytes) -> bool:
        """All but the silence that opens a reply while we are behind: there time is won back unheard."""
        if self._audible:
            return True
        if level_dbfs(frame) <= SILENCE_DBFS:
            return self._playout.queued_ms <= LATE_MS
        self._audible = True
        if self.first_sound_at is None:
            self.first_sound_at = asyncio.get_running_loop().time()
            self._journal.event("first_sound")
        return True

    def _flush(self, change: FloorEvent, *, came_at: float) -> None:
        ahead_ms = self._clear()
        cleared_at = perf_counter()
        self._came_at = None
        is_cut = ahead_ms > 0 or self._playout.queued_ms > 0 or change is FloorEvent.REPLY_INTERRUPTED
        heard_ms = self._playout.flush(ahead_ms=ahead_ms, open_reply=self._open_reply)
        if is_cut and self._audible:
            self._audible = False
            self.barge_ins += 1
            metrics.BARGE_INS.inc()
            metrics.BARGE_IN_FLUSH_SECONDS.observe(cleared_at - came_at)
            self._journal.event("barge_in", heard_ms=heard_ms)

    def _show_floor(self) -> None:
        """The agent's state as front-ends know it, from the floor and what is still to be heard."""
        if self._audible and (self._turn.floor is Floor.AGENT or self._playout.queued_ms):
            state = "speaking"
        else:
            state = "thinking" if self._turn.floor is Floor.AGENT else "listening"
        if state != self._state:
            self._state = state
            self._state_changed.set()
        if self._turn.floor is Floor.NOBODY:
            self._moved.set()
        if self._is_quiet and self._quiet_in_s() != 0:
            self._note_quiet(False)


def _observe_reply(came_at: float) -> None:
    metrics.REPLY_ADDED_SECONDS.observe(perf_counter() - came_at)
