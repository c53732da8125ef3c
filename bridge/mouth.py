"""The agent's side of a call: what the voice says, into the room, for as long as the room is surely ours."""

import asyncio

from bridge import metrics
from bridge.audio import SILENCE_DBFS, level_dbfs
from bridge.playout import Playout
from bridge.room import AgentRoom
from bridge.spec import Journal, Permit, VoiceSpec
from bridge.turn import Beat, Floor, Turn, beat_of
from bridge.voice.events import ReplyAudio, ReplyDone, ReplyStarted, VoiceEvent

UNHEARD_S = 2.0
"""How long the first word waits for somebody to subscribe to the agent's track. Then it is said anyway."""

LATE_MS = 60
"""Speech waiting beyond this means that we are behind the voice."""

LAST_WORDS_S = 3.0
"""How long what the agent still has to say may take after it hung up."""


class Mouth:
    """Speaks replies, falls silent when the caller cuts in, and shows front-ends what it does.

    Two tasks: `say` and `show`. `take` is synchronous: nothing may come between a barge-in and its flush.
    """

    def __init__(self, room: AgentRoom, permit: Permit, journal: Journal, voice: VoiceSpec) -> None:
        self._room = room
        self._permit = permit
        self._journal = journal
        self._barge_in = (voice.turn_detection or {}).get("interrupt_response") is not False
        self._turn = Turn(barge_in=self._barge_in)
        self._playout = Playout()
        self._speech = asyncio.Event()
        self._all_said = asyncio.Event()
        """Set while everything that may be handed over has been."""
        self._open_reply = ""
        self._is_hushed = False
        """Whether speech is being held back because the room is not surely ours."""
        self._audible = False
        """Whether the open reply was heard yet; a reply opens up to two seconds before its first sound."""
        self._state = "initializing"
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

    def attach(self) -> None:
        """A voice session is ready: its floor is nobody's."""
        self._turn = Turn(barge_in=self._barge_in)
        self._show_floor()

    def detach(self) -> None:
        """The voice session is over; what it said is still to be heard to its end."""
        self._turn = Turn(barge_in=self._barge_in)
        self._playout.finish()
        self._speech.set()

    def take(self, event: VoiceEvent) -> None:
        """One event of the voice."""
        if isinstance(event, ReplyAudio):
            if self._playout.push(event.reply, event.pcm):
                self._all_said.clear()
                self._speech.set()
            return
        beat = beat_of(event)
        if beat is None:
            return
        surprises = self._turn.surprises
        if self._turn.advance(beat):
            self._flush(beat)
        if self._turn.surprises > surprises:
            metrics.VOICE_SURPRISES.inc()
        match event:
            case ReplyStarted(reply=reply):
                self._open_reply = reply
                self._audible = False
                self.replies += 1
            case ReplyDone():
                self._open_reply = ""
                self._playout.finish()
                self._speech.set()
        self._show_floor()

    def hush(self) -> None:
        """Stop playing, now."""
        self._playout.flush(ahead_ms=self._room.clear(), open_reply=self._open_reply)

    async def last_words(self) -> None:
        """Let the caller hear what the agent said before it hung up, within reason."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                self._speech.set()
                await self._all_said.wait()
                await self._room.played_out()
        except TimeoutError:
            return  # a peer that sent that far ahead of time is cut

    async def say(self, joined: asyncio.Event) -> None:
        """Task: hand speech to the room, frame by frame, once we are in and somebody listens."""
        await joined.wait()
        await self._room.listened_to(limit_s=UNHEARD_S)
        while True:
            await self._speech.wait()
            frame = self._playout.take()
            if frame is None:
                self._speech.clear()
                self._all_said.set()
                self._show_floor()
            elif self.is_out or not self._permit.may_speak():
                self._hold_back()
            elif self._is_worth_saying(frame):
                self._is_hushed = False
                await self._room.play(frame)

    async def show(self, joined: asyncio.Event) -> None:
        """Task: tell front-ends the newest state; one that changed again meanwhile is skipped."""
        await joined.wait()
        while True:
            await self._state_changed.wait()
            self._state_changed.clear()
            if not await self._room.show({"lk.agent.state": self._state}):
                self._state_changed.set()

    def _hold_back(self) -> None:
        """One frame not said; with the first one, what was handed over before and is still to be sent goes as well."""
        self.frames_muted += 1
        if not self._is_hushed:
            self._is_hushed = True
            self._room.clear()

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
        self._show_floor()
        return True

    def _flush(self, beat: Beat) -> None:
        ahead_ms = self._room.clear()
        is_cut = ahead_ms > 0 or self._playout.queued_ms > 0 or beat is Beat.REPLY_INTERRUPTED
        heard_ms = self._playout.flush(ahead_ms=ahead_ms, open_reply=self._open_reply)
        if is_cut and self._audible:
            self._audible = False
            self.barge_ins += 1
            metrics.BARGE_INS.inc()
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
