"""The conversation of an active session: the caller is heard, has turns, is answered, interrupts. Pure.

Who has the floor is in `FLOOR`'s three states; the caller's side runs on the audio's own clock (`ear.py`), the agent's
on the loop's (`reply.py`). It knows nothing of configuration messages nor of how a session begins and ends.
"""

import enum
from collections.abc import Callable

from bridge.simulator.agenda import Agenda, Outbox
from bridge.simulator.config import SessionConfig
from bridge.simulator.ear import Ear, Stretch
from bridge.simulator.lines import Speech, line, line_for, own_voice
from bridge.simulator.options import Faults, SimulatorOptions
from bridge.simulator.records import SessionRecord
from bridge.simulator.reply import Cause, Reply, Step
from bridge.simulator.texts import IDLE_LINES, INTRODUCTIONS, MARK
from bridge.simulator.wire import audio_event, audio_event_head, new_id, unknown_event

CREATED_AFTER_S = 0.028
"""From `reply.create` to `reply.started`."""
TRANSCRIPT_AFTER_S = 0.002
"""From `input.speech.stopped` to `transcript.user`; the reply starts a millisecond later."""
REPLY_AFTER_S = 0.003
HANG_UP_AFTER_S = 0.05
DELTA_EVERY_MS = 400
GREETING_LEAD_MS = 250
REPLY_LEAD_MS = 1000

ECHO_MS = 8000
"""Of the caller's voice so much is played back, its end."""
PRE_ROLL_MS = 150
"""Played back from before the first voiced window: consonants begin quietly."""
TAIL_MS = 100

BRIEF_MS = 120
"""Less voice than this is a click and no turn."""


class Floor(enum.Enum):
    """Who speaks."""

    NOBODY = "nobody"
    CALLER = "caller"
    AGENT = "agent"
    """A reply is open, heard or not."""


class Talk:
    """The conversation of one session."""

    def __init__(
        self,
        *,
        options: SimulatorOptions,
        faults: Faults,
        record: SessionRecord,
        outbox: Outbox,
        agenda: Agenda,
        hang_up: Callable[[float], None],
    ) -> None:
        self.floor = Floor.NOBODY
        self._options = options
        self._faults = faults
        self._record = record
        self._outbox = outbox
        self._agenda = agenda
        self._hang_up = hang_up
        self._ear = Ear(voiced_dbfs=options.voiced_dbfs)
        self._turn_item = ""
        self._turn_onset_ms = 0
        self._delta_at_ms = 0
        self._created = 0
        self._reply: Reply | None = None
        self._reply_ids: dict[str, str] = {}
        self._audio_head = b""

    # The caller's side.

    def hear(self, pcm: bytes, config: SessionConfig, now: float) -> None:
        """Take in the caller's audio, cut anywhere."""
        for _ in self._ear.hear(pcm):
            stretch = self._ear.stretch
            if stretch is None or self._faults.deaf_session:
                continue
            match self.floor:
                case Floor.NOBODY:
                    self._listen_in_silence(stretch, now)
                case Floor.CALLER:
                    self._listen_to_turn(stretch, config, now)
                case Floor.AGENT:
                    self._listen_under_reply(stretch, config, now)

    def _listen_in_silence(self, stretch: Stretch, now: float) -> None:
        if self._ear.age_ms < self._options.onset_ms:
            return
        if stretch.voiced_ms < min(BRIEF_MS, self._options.onset_ms // 2):
            self._ear.forget()
            return
        self._outbox.emit(now, "input.speech.started")
        self._begin_turn(new_id("msg"), stretch.onset_ms)

    def _begin_turn(self, item_id: str, onset_ms: int) -> None:
        self.floor = Floor.CALLER
        self._record.stretches += 1
        self._turn_item = item_id
        self._turn_onset_ms = onset_ms
        self._delta_at_ms = self._ear.position_ms

    def _listen_to_turn(self, stretch: Stretch, config: SessionConfig, now: float) -> None:
        if self._ear.silence_ms >= (self._options.endpoint_ms or config.endpoint_ms):
            self._end_turn(stretch, now)
        elif stretch.end_ms >= self._delta_at_ms + DELTA_EVERY_MS:
            self._delta_at_ms = stretch.end_ms
            self._outbox.emit(
                now, "transcript.user.delta", item_id=self._turn_item, text=self._turn_text(stretch.end_ms)
            )

    def _turn_text(self, end_ms: int) -> str:
        return f"{MARK} {(end_ms - self._turn_onset_ms) / 1000:.1f} s of speech"

    def _end_turn(self, stretch: Stretch, now: float) -> None:
        final = {"item_id": self._turn_item, "text": self._turn_text(stretch.end_ms)}
        self._outbox.emit(now, "input.speech.stopped")
        self._agenda.add(now + TRANSCRIPT_AFTER_S, lambda at: self._outbox.emit(at, "transcript.user", **final))
        speech = self._answer(stretch.end_ms)
        self._ear.forget()
        self._record.turns += 1
        self._open_reply(Cause.TURN, speech, now + REPLY_AFTER_S)

    def _answer(self, end_ms: int) -> Speech:
        """The scripted line, the long one, or the caller's own voice."""
        turn = self._record.turns
        if turn < len(self._faults.script):
            return line(self._faults.script[turn])
        if self._faults.long_reply:
            return line("long")
        start_ms = max(self._turn_onset_ms - PRE_ROLL_MS, end_ms - ECHO_MS)
        return own_voice(INTRODUCTIONS[turn % len(INTRODUCTIONS)], self._ear.between(start_ms, end_ms + TAIL_MS))

    def _listen_under_reply(self, stretch: Stretch, config: SessionConfig, now: float) -> None:
        """Speech while a reply is open: an interruption if the agent is heard, else perhaps more of the same turn."""
        reply = self._reply
        if reply is None or reply.is_withdrawn:
            return
        if reply.cause is Cause.GREETING and config.guards_greeting:
            self._ear.forget()
            return
        # Speech has gaps; a word of agreement, which must not interrupt, is mostly gap by then.
        is_speech = stretch.voiced_ms * 5 >= self._ear.age_ms * 2
        if is_speech and reply.is_heard(now) and config.allows_barge_in:
            if self._ear.age_ms >= self._options.barge_in_ms:
                self._interrupt(reply, stretch.onset_ms, now)
        elif is_speech and reply.is_pending(now) and self._ear.age_ms >= self._options.onset_ms:
            reply.withdraw()
        self._ear.forget_if_over()

    def _interrupt(self, reply: Reply, onset_ms: int, now: float) -> None:
        self._outbox.emit(now, "input.speech.started")
        self._cut(reply, now)
        self._begin_turn(new_id("msg"), onset_ms)

    def _cut(self, reply: Reply, now: float) -> None:
        """End a reply before its time: no frame of it follows."""
        self._reply = None
        self.floor = Floor.NOBODY
        self._record.interruptions += 1
        self._record.reply_was_cut(unix_s=now + self._outbox.unix_offset_s, frames_sent=reply.frames_sent)
        self._emit_transcript(reply.text_said(), now, interrupted=True)
        self._outbox.emit(now, "reply.done", reply_id=self._reply_ids["reply_id"], status="interrupted")

    # The agent's side.

    @property
    def due_at(self) -> float:
        """When the open reply has its next step; infinity without one."""
        return self._reply.due_at if self._reply else float("inf")

    @property
    def is_streaming(self) -> bool:
        """Whether the next step is one frame of many."""
        return self._reply is not None and self._reply.next_step is Step.FRAME and self._reply.frames_sent > 0

    def greet(self, text: str, now: float) -> None:
        """Say the greeting, unless the caller was faster."""
        if self.floor is Floor.NOBODY:
            self._open_reply(Cause.GREETING, line_for(text), now)

    def create(self, now: float) -> None:
        """Speak as `reply.create` asks: it replaces a greeting, and is lost while anybody else has the floor."""
        if self._reply is not None and self._reply.cause is Cause.GREETING and self._reply.frames_sent:
            self._cut(self._reply, now)
        if self.floor is Floor.NOBODY:
            speech = line(IDLE_LINES[self._created % len(IDLE_LINES)])
            self._created += 1
            self._open_reply(Cause.ASKED, speech, now + CREATED_AFTER_S)

    def say(self, speech: Speech, now: float) -> None:
        """Speak unasked, as the live service sometimes does; nothing while somebody has the floor."""
        if self.floor is Floor.NOBODY:
            self._open_reply(Cause.ASKED, speech, now)

    def cancel(self, reply_id: str, now: float) -> None:
        """Cut the open reply, if it is that one."""
        if self._reply is not None and self._reply.frames_sent and reply_id == self._reply_ids["reply_id"]:
            self._cut(self._reply, now)

    def _open_reply(self, cause: Cause, speech: Speech, started_at: float) -> None:
        self.floor = Floor.AGENT
        self._record.replies += 1
        self._reply_ids = {"reply_id": new_id("resp"), "item_id": new_id("msg")}
        self._audio_head = audio_event_head(self._reply_ids["reply_id"])
        self._reply = Reply(
            cause=cause,
            speech=None if self._faults.silent_reply else speech,
            started_at=started_at,
            lead_ms=self._lead_ms(cause),
            done_lag_ms=self._options.done_lag_ms,
            burst=self._faults.burst_frames,
        )

    def _lead_ms(self, cause: Cause) -> int:
        asked_ms = self._options.lead_silence_ms
        if cause is Cause.GREETING:
            return GREETING_LEAD_MS if asked_ms is None else min(asked_ms, GREETING_LEAD_MS)
        return REPLY_LEAD_MS if asked_ms is None else asked_ms

    def catch_up(self, now: float) -> None:
        """After a stall the open reply goes on from now."""
        if self._reply:
            self._reply.catch_up(now)

    def step(self, now: float) -> None:
        """Take the next step of the open reply."""
        reply = self._reply
        if reply is None:
            return
        match reply.next_step:
            case Step.START:
                self._outbox.emit(now, "reply.started", **self._reply_ids)
                if self._faults.unknown_event:
                    self._outbox.put(unknown_event(now + self._outbox.unix_offset_s))
            case Step.FRAME:
                if not reply.frames_sent:
                    self._record.reply_began(unix_s=now + self._outbox.unix_offset_s)
                self._outbox.put(audio_event(self._audio_head, reply.frame(), now + self._outbox.unix_offset_s))
                self._record.frames_sent += 1
            case Step.WORDS:
                self._emit_words(reply, now)
            case Step.TRANSCRIPT:
                if reply.speech and not self._faults.late_agent_transcript:
                    self._emit_transcript(reply.speech.text, now, interrupted=False)
            case Step.DONE | Step.OVER:
                self._finish_reply(reply, now)
        reply.advance()

    def _emit_words(self, reply: Reply, now: float) -> None:
        for word in reply.words():
            facts = {"delta": word.text, "start_ms": word.start_ms, "end_ms": word.end_ms}
            self._outbox.emit(now, "transcript.agent.delta", **self._reply_ids, **facts)

    def _emit_transcript(self, text: str, now: float, *, interrupted: bool) -> None:
        self._outbox.emit(now, "transcript.agent", **self._reply_ids, text=text, interrupted=interrupted)

    def _finish_reply(self, reply: Reply, now: float) -> None:
        self._reply = None
        self.floor = Floor.NOBODY
        self._outbox.emit(now, "reply.done", reply_id=self._reply_ids["reply_id"], status="completed")
        if reply.speech and self._faults.late_agent_transcript:
            self._emit_transcript(reply.speech.text, now, interrupted=False)
        if reply.is_withdrawn and self._ear.stretch:
            self._continue_turn(reply.cause, self._ear.stretch, now)
        elif reply.cause is Cause.TURN and self._record.turns == self._faults.hang_up_after_turns:
            self._agenda.add(now + HANG_UP_AFTER_S, self._hang_up)

    def _continue_turn(self, cause: Cause, stretch: Stretch, now: float) -> None:
        """The caller had spoken before the agent was heard: after a turn it is more of the same, else a new one."""
        self._outbox.emit(now, "input.speech.started")
        if cause is Cause.TURN:
            self._record.turns -= 1
            self._begin_turn(self._turn_item, self._turn_onset_ms)
        else:
            self._begin_turn(new_id("msg"), stretch.onset_ms)
