"""One connection of the Voice Agent API, as a pure object: messages and time in, frames out.

The caller of `receive` and `tick` owns the socket and the clock. Both only ever add to what `take` returns, and
neither raises, whatever a client sends. Every time is the loop's clock in seconds; `due_at` says when to tick.
Phases: WAIT_FIRST -> STARTING -> ACTIVE -> ENDED, and back to none. Within ACTIVE one of three has the floor.
"""

import enum
import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import orjson
import pybase64

from bridge.simulator.config import Refused, SessionConfig, first_config, later_config
from bridge.simulator.directory import Directory
from bridge.simulator.ear import Ear
from bridge.simulator.lines import IDLE_LINES, INTRODUCTIONS, LINES, MARK, Speech, line, line_for, own_voice
from bridge.simulator.records import Ending, SessionRecord, Violation
from bridge.simulator.reply import Cause, Reply, Step
from bridge.simulator.wire import Abort, Binary, Close, Outgoing, audio_event, audio_event_head, event, new_id

UPDATED_BEFORE_READY_S = 0.015
CREATED_AFTER_S = 0.028
"""From `reply.create` to `reply.started`."""
TRANSCRIPT_AFTER_S = 0.002
"""From `input.speech.stopped` to `transcript.user`; the reply starts a millisecond later."""
REPLY_AFTER_S = 0.003
HANG_UP_AFTER_S = 0.05
EXPIRES_AFTER_S = 3595
"""Whatever was asked for, a session expires after about an hour."""
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

RATE_LIMIT = 1.25
"""Input may be this much faster than real time, and `RATE_BURST_MS` ahead."""
RATE_BURST_MS = 500
RATE_ERROR_EVERY_S = 1.0

CLOSE_POLICY = 1008


class Phase(enum.Enum):
    """How far a connection has come."""

    WAIT_FIRST = "wait_first"
    """Open; the server says nothing before the client's first message."""
    STARTING = "starting"
    """Configured; `session.ready` is to come."""
    ACTIVE = "active"
    ENDED = "ended"


class Floor(enum.Enum):
    """Who speaks in an active session."""

    NOBODY = "nobody"
    CALLER = "caller"
    AGENT = "agent"
    """A reply is open, heard or not."""


Message = Mapping[str, object]


class VoiceSession:
    """One connection, from its opening to its end."""

    def __init__(self, directory: Directory, *, credential: str, now: float, unix_now: float) -> None:
        """Open a connection that showed `credential`: a key, a temporary token or a resume token; empty for none."""
        self._directory = directory
        self._options = directory.options
        self._faults = directory.take_faults()
        self._credential = credential
        self._unix_offset_s = unix_now - now
        self._opened_at = now
        self._session_id = new_id("sess")
        self._resume_token = new_id("resume")
        self.record = SessionRecord(self._session_id, opened_unix_ms=round(unix_now * 1000))
        directory.enter(self.record)

        self.phase = Phase.WAIT_FIRST
        self.floor = Floor.NOBODY
        self._config: SessionConfig | None = None
        self._out: list[Outgoing] = []
        self._timers: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._reply: Reply | None = None
        self._reply_id = ""
        self._reply_item = ""
        self._audio_head = b""
        self._ear = Ear(voiced_dbfs=self._options.voiced_dbfs)
        self._turn_item = ""
        self._turn_onset_ms = 0
        self._delta_at_ms = 0
        self._created = 0
        self._ahead_ms = 0.0
        self._audio_at = now
        self._rate_error_at = float("-inf")
        self._handlers: Mapping[str, Callable[[Message, float], None]] = {
            "session.update": self._on_update,
            "session.resume": self._on_resume,
            "session.end": self._on_end,
            "input.audio": self._on_audio,
            "reply.create": self._on_create,
            "reply.cancel": self._on_cancel,
            "conversation.message": self._on_conversation,
            "tool.result": self._on_tool_result,
        }
        self._admit(now)

    # What the shell uses.

    @property
    def due_at(self) -> float:
        """When `tick` has something to do; infinity when only a message can change anything."""
        timer = self._timers[0][0] if self._timers else float("inf")
        return min(timer, self._reply.due_at if self._reply else float("inf"))

    @property
    def is_streaming(self) -> bool:
        """Whether the next thing to do is one frame of many, so that a shell may wait and send several at once."""
        return self._reply is not None and self._reply.next_step is Step.FRAME and self._reply.frames_sent > 0

    @property
    def has_output(self) -> bool:
        """Whether `take` would return something."""
        return bool(self._out)

    def take(self) -> list[Outgoing]:
        """What to do with the socket, in order; the list is the caller's."""
        taken, self._out = self._out, []
        return taken

    def tick(self, now: float) -> None:
        """Do what is due, each thing at its own time, so that a late tick does not make the next ones late."""
        if self._reply:
            self._reply.catch_up(now)
        while self.phase is not Phase.ENDED and (due_at := self.due_at) <= now:
            if self._timers and self._timers[0][0] <= due_at:
                _, _, action = heapq.heappop(self._timers)
                action(due_at)
            else:
                self._step_reply(due_at)

    def receive(self, raw: str | bytes, now: float) -> None:
        """Take one message of the client's; binary ones are never part of the protocol."""
        self.tick(now)
        if self.phase is Phase.ENDED:
            self._note_late(raw)
            return
        message = _parse(raw)
        if message is None:
            self.record.broke(Violation.NOT_A_MESSAGE)
            self._error(now, "invalid_format", "Invalid JSON format.")
            return
        kind = message.get("type")
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            self.record.broke(Violation.NOT_A_MESSAGE)
            self._error(now, "invalid_format", f"Unknown message type: {str(kind)[:64]}")
            return
        self.record.client_messages[str(kind)] += 1
        handler(message, now)

    def lose(self, now: float) -> None:
        """The connection is gone. A session that did not end waits for a resume, and counts, for its grace."""
        if self.phase is not Phase.ENDED:
            self._finish(now, Ending.LOST)

    def stop(self, now: float) -> None:
        """The simulator stops: end properly."""
        if self.phase is not Phase.ENDED:
            self._end_properly(now, Ending.STOPPED)

    def hang_up(self, now: float) -> None:
        """The agent ends the session."""
        if self.phase is Phase.ACTIVE:
            self._end_properly(now, Ending.HUNG_UP)

    def drop(self, now: float) -> None:
        """Cut the connection."""
        if self.phase is not Phase.ENDED:
            self._out.append(Abort())
            self._finish(now, Ending.FAULT)

    def say(self, name: str, now: float) -> None:
        """Speak a line unasked, as the live service sometimes does; nothing while somebody has the floor.

        Raises:
            KeyError: no line is called `name`.
        """
        speech = line(name)
        if self.phase is Phase.ACTIVE and self.floor is Floor.NOBODY:
            self._open_reply(Cause.ASKED, speech, now)

    # Opening.

    def _admit(self, now: float) -> None:
        if not self._options.accepts(self._credential):
            code = "UNAUTHORIZED" if self._options.is_docs else "unauthorized"
            self._refuse(now, code, "Authentication failed", session_id=None, param=None)
            return
        refusal = self._directory.refusal(self._faults, now)
        if refusal:
            self._refuse(now, refusal, "The roompool simulator takes no more sessions")
            return
        self._directory.begin(self._session_id)

    def _on_update(self, message: Message, now: float) -> None:
        if self._config is None:
            self._configure(message.get("session"), now)
            return
        try:
            self._config = later_config(self._config, message.get("session"))
        except Refused as refused:
            if refused.code == "immutable_field":
                self.record.broke(Violation.IMMUTABLE)
            self._config_error(now, refused)
            return
        self._say_updated(now)

    def _configure(self, asked: object, now: float) -> None:
        refuse_voice = self._faults.refuse_voice
        try:
            self._config = first_config(
                asked, session_id=self._session_id, options=self._options, refuse_voice=refuse_voice
            )
        except Refused as refused:
            if refused.code == "invalid_format":
                self._error(now, refused.code, refused.message)
            else:
                self._config_error(now, refused)
                self._end_refused(now, refused.code)
            return
        self.phase = Phase.STARTING
        ready_at = now + (self._options.ready_after_ms + self._faults.slow_ready_ms) / 1000
        if not self._options.is_docs:
            self._at(ready_at, self._say_updated)
        if self._faults.agent_timeout_ms is not None:
            self._at(now + self._faults.agent_timeout_ms / 1000, self._time_out)
        elif not self._faults.no_ready:
            self._at(ready_at + UPDATED_BEFORE_READY_S, self._become_ready)

    def _on_resume(self, message: Message, now: float) -> None:
        session_id = message.get("session_id")
        if self._config is not None or not isinstance(session_id, str):
            self._malformed("session.resume", now)
            return
        config = self._directory.resume(session_id, self._credential, now)
        if config is None:
            self._refuse(now, "session_not_found", "Session not found or grace window has expired", param="session_id")
            return
        self._directory.end(self._session_id)
        self._session_id = self.record.session_id = session_id
        self._directory.begin(session_id)
        self._config = without_greeting(config)
        self.record.resumed = True
        self._become_ready(now)

    def _say_updated(self, now: float) -> None:
        self._emit(now, "session.updated", config=self._echo())

    def _echo(self) -> Mapping[str, object]:
        assert self._config is not None
        self.record.config = self._config.echo()
        return self.record.config

    def _become_ready(self, now: float) -> None:
        assert self._config is not None
        self.phase = Phase.ACTIVE
        self.record.is_ready = True
        self._audio_at = now
        self._emit(
            now,
            "session.ready",
            session_id=self._session_id,
            config=self._echo(),
            expires_at=int(now + self._unix_offset_s) + EXPIRES_AFTER_S,
            resume_token=self._resume_token,
        )
        self._arm_faults(now)
        if self._config.greeting:
            self._at(now + self._options.greeting_after_ms / 1000, self._greet)

    def _arm_faults(self, now: float) -> None:
        faults = self._faults
        if faults.unknown_event:
            self._emit_unknown(now)
        if faults.typeless_error:
            self._out.append(orjson.dumps({"code": "server_error", "message": f"{MARK} an error without a type"}))
        if faults.garbage_frames:
            self._emit_garbage(now)
        if faults.drop_after_ms is not None:
            self._at(now + faults.drop_after_ms / 1000, self.drop)
        if faults.close_1011_after_ms is not None:
            self._at(now + faults.close_1011_after_ms / 1000, lambda at: self._close_wrongly(at, 1011))
        if faults.close_no_ended_after_ms is not None:
            self._at(now + faults.close_no_ended_after_ms / 1000, lambda at: self._close_wrongly(at, 1000))

    def _time_out(self, now: float) -> None:
        self._refuse(now, "agent_timeout", "Agent was not ready in time")

    # The caller's audio.

    def _on_audio(self, message: Message, now: float) -> None:
        audio = message.get("audio")
        if not isinstance(audio, str):
            self._malformed("input.audio", now)
            return
        if self.phase is not Phase.ACTIVE:
            is_first = self._config is None
            self.record.broke(Violation.FIRST_MESSAGE if is_first else Violation.AUDIO_BEFORE_READY)
            self._malformed("input.audio", now)
            return
        try:
            pcm = pybase64.b64decode(audio, validate=True)
        except ValueError:
            self._error(now, "invalid_audio", "Invalid audio data")
            return
        if self._is_too_fast(len(pcm), now) and self._options.is_docs:
            return
        self.record.audio_bytes += len(pcm)
        for _ in self._ear.hear(pcm):
            if not self._faults.deaf_session:
                self._listen(now)

    def _is_too_fast(self, audio_bytes: int, now: float) -> bool:
        self._ahead_ms = max(0.0, self._ahead_ms - (now - self._audio_at) * 1000 * RATE_LIMIT)
        self._audio_at = now
        audio_ms = audio_bytes / 48
        if self._ahead_ms + audio_ms <= RATE_BURST_MS or self._ahead_ms == 0:
            self._ahead_ms += audio_ms
            return False
        if now - self._rate_error_at >= RATE_ERROR_EVERY_S:
            self._rate_error_at = now
            self.record.broke(Violation.AUDIO_TOO_FAST)
            if self._options.is_docs:
                self._error(now, "audio_rate_violation", "Audio is sent faster than real time; the excess is dropped")
        return True

    def _listen(self, now: float) -> None:
        """Look at the caller's speech after another 10 ms of it."""
        match self.floor:
            case Floor.NOBODY:
                self._listen_in_silence(now)
            case Floor.CALLER:
                self._listen_to_turn(now)
            case Floor.AGENT:
                self._listen_under_reply(now)

    def _listen_in_silence(self, now: float) -> None:
        stretch = self._ear.stretch
        if stretch is None or self._ear.age_ms < self._options.onset_ms:
            return
        if stretch.voiced_ms < min(BRIEF_MS, self._options.onset_ms // 2):
            self._ear.forget()
            return
        self._emit(now, "input.speech.started")
        self._begin_turn(new_id("msg"), stretch.onset_ms)

    def _begin_turn(self, item_id: str, onset_ms: int) -> None:
        self.floor = Floor.CALLER
        self.record.stretches += 1
        self._turn_item = item_id
        self._turn_onset_ms = onset_ms
        self._delta_at_ms = self._ear.position_ms

    def _listen_to_turn(self, now: float) -> None:
        assert self._config is not None
        stretch = self._ear.stretch
        if stretch is None or self._ear.silence_ms >= (self._options.endpoint_ms or self._config.endpoint_ms):
            self._end_turn(now)
        elif stretch.end_ms >= self._delta_at_ms + DELTA_EVERY_MS:
            self._delta_at_ms = stretch.end_ms
            self._emit(now, "transcript.user.delta", item_id=self._turn_item, text=self._turn_text())

    def _turn_text(self) -> str:
        return f"{MARK} {self._turn_length_ms() / 1000:.1f} s of speech"

    def _turn_length_ms(self) -> int:
        return self._ear.stretch.end_ms - self._turn_onset_ms if self._ear.stretch else 0

    def _end_turn(self, now: float) -> None:
        self._emit(now, "input.speech.stopped")
        item_id, text = self._turn_item, self._turn_text()
        self._at(now + TRANSCRIPT_AFTER_S, lambda at: self._emit(at, "transcript.user", item_id=item_id, text=text))
        speech = self._answer()
        self._ear.forget()
        self.record.turns += 1
        self._open_reply(Cause.TURN, speech, now + REPLY_AFTER_S)

    def _answer(self) -> Speech:
        """The scripted line, the long one, or the caller's own voice."""
        turn = self.record.turns
        if turn < len(self._faults.script) and self._faults.script[turn] in LINES:
            return line(self._faults.script[turn])
        if self._faults.long_reply:
            return line("long")
        end_ms = self._turn_onset_ms + self._turn_length_ms()
        start_ms = max(self._turn_onset_ms - PRE_ROLL_MS, end_ms - ECHO_MS)
        return own_voice(INTRODUCTIONS[turn % len(INTRODUCTIONS)], self._ear.between(start_ms, end_ms + TAIL_MS))

    def _listen_under_reply(self, now: float) -> None:
        """Speech while a reply is open: an interruption if the agent is heard, else perhaps more of the same turn."""
        reply, stretch, config = self._reply, self._ear.stretch, self._config
        if reply is None or stretch is None or config is None or reply.is_withdrawn:
            return
        if reply.cause is Cause.GREETING and config.guards_greeting:
            self._ear.forget()
            return
        # Speech has gaps; a word of agreement, which must not interrupt, is mostly gap by then.
        is_speech = stretch.voiced_ms * 5 >= self._ear.age_ms * 2
        if reply.is_heard(now) and config.allows_barge_in:
            if is_speech and self._ear.age_ms >= self._options.barge_in_ms:
                self._interrupt(now, reply, stretch.onset_ms)
        elif (
            reply.cause is Cause.TURN
            and reply.is_pending(now)
            and is_speech
            and self._ear.age_ms >= self._options.onset_ms
        ):
            reply.withdraw()
        self._ear.forget_if_over()

    def _interrupt(self, now: float, reply: Reply, onset_ms: int) -> None:
        self._emit(now, "input.speech.started")
        self._cut(now, reply)
        self._begin_turn(new_id("msg"), onset_ms)

    def _cut(self, now: float, reply: Reply) -> None:
        """End a reply before its time: no frame of it follows."""
        self._reply = None
        self.floor = Floor.NOBODY
        self.record.interruptions += 1
        self._emit_transcript(now, reply.text_said(), interrupted=True)
        self._emit(now, "reply.done", reply_id=self._reply_id, status="interrupted")

    # Replies.

    def _greet(self, now: float) -> None:
        assert self._config is not None
        if self.floor is Floor.NOBODY:
            self._open_reply(Cause.GREETING, line_for(self._config.greeting or ""), now)

    def _open_reply(self, cause: Cause, speech: Speech, started_at: float) -> None:
        usual_ms = GREETING_LEAD_MS if cause is Cause.GREETING else REPLY_LEAD_MS
        asked_ms = self._options.lead_silence_ms
        self.floor = Floor.AGENT
        self.record.replies += 1
        self._reply_id = new_id("resp")
        self._reply_item = new_id("msg")
        self._audio_head = audio_event_head(self._reply_id)
        self._reply = Reply(
            cause=cause,
            speech=None if self._faults.silent_reply else speech,
            started_at=started_at,
            lead_ms=usual_ms if asked_ms is None else min(asked_ms, usual_ms) if cause is Cause.GREETING else asked_ms,
            done_lag_ms=self._options.done_lag_ms,
            burst=self._faults.burst_frames,
        )

    def _step_reply(self, now: float) -> None:
        reply = self._reply
        assert reply is not None
        match reply.next_step:
            case Step.START:
                self._emit(now, "reply.started", reply_id=self._reply_id, item_id=self._reply_item)
                if self._faults.unknown_event:
                    self._emit_unknown(now)
            case Step.FRAME:
                self._out.append(audio_event(self._audio_head, reply.frame(), now + self._unix_offset_s))
                self.record.frames_sent += 1
            case Step.WORDS:
                self._emit_words(now, reply)
            case Step.TRANSCRIPT:
                if reply.speech and not self._faults.late_agent_transcript:
                    self._emit_transcript(now, reply.speech.text, interrupted=False)
            case Step.DONE | Step.OVER:
                self._finish_reply(now, reply)
        reply.advance()

    def _emit_words(self, now: float, reply: Reply) -> None:
        for word in reply.words():
            self._emit(
                now,
                "transcript.agent.delta",
                reply_id=self._reply_id,
                item_id=self._reply_item,
                delta=word.text,
                start_ms=word.start_ms,
                end_ms=word.end_ms,
            )

    def _emit_transcript(self, now: float, text: str, *, interrupted: bool) -> None:
        ids = {"reply_id": self._reply_id, "item_id": self._reply_item}
        self._emit(now, "transcript.agent", **ids, text=text, interrupted=interrupted)

    def _finish_reply(self, now: float, reply: Reply) -> None:
        self._reply = None
        self.floor = Floor.NOBODY
        self._emit(now, "reply.done", reply_id=self._reply_id, status="completed")
        if reply.speech and self._faults.late_agent_transcript:
            self._emit_transcript(now, reply.speech.text, interrupted=False)
        if reply.is_withdrawn and self._ear.stretch:
            # The caller had only paused: what was said before and after is one turn.
            self._emit(now, "input.speech.started")
            self._begin_turn(self._turn_item, self._turn_onset_ms)
        if reply.cause is Cause.TURN and self.record.turns == self._faults.hang_up_after_turns:
            self._at(now + HANG_UP_AFTER_S, self.hang_up)

    def _on_create(self, message: Message, now: float) -> None:
        if self.phase is not Phase.ACTIVE or not isinstance(message.get("instructions", ""), str):
            self._malformed("reply.create", now)
            return
        if self._reply is not None and self._reply.cause is Cause.GREETING:
            self._cut(now, self._reply)
        if self.floor is not Floor.NOBODY:
            return  # lost without a word, as live
        speech = line(IDLE_LINES[self._created % len(IDLE_LINES)])
        self._created += 1
        self._open_reply(Cause.ASKED, speech, now + CREATED_AFTER_S)

    def _on_cancel(self, message: Message, now: float) -> None:
        if not isinstance(message.get("reply_id"), str):
            self._malformed("reply.cancel", now)
        elif self._reply is not None and message["reply_id"] == self._reply_id:
            self._cut(now, self._reply)

    # Messages without an answer.

    def _on_conversation(self, message: Message, now: float) -> None:
        is_valid = message.get("role") in ("user", "system") and isinstance(message.get("content"), str)
        if self.phase is not Phase.ACTIVE or not is_valid:
            self._malformed("conversation.message", now)

    def _on_tool_result(self, message: Message, now: float) -> None:
        result = message.get("result")
        if not isinstance(result, str):
            self.record.broke(Violation.RESULT_NOT_A_STRING)
        is_valid = isinstance(result, str) and isinstance(message.get("call_id"), str)
        if self.phase is not Phase.ACTIVE or not is_valid or not isinstance(message.get("is_error", False), bool):
            self._malformed("tool.result", now)

    # Ends.

    def _on_end(self, message: Message, now: float) -> None:
        if self.record.client_messages["session.end"] > 1:
            self.record.broke(Violation.SECOND_END)
        if self._faults.session_ended_missing:
            self.record.ending = Ending.CLIENT_ENDED
            return
        self._end_properly(now, Ending.CLIENT_ENDED)

    def _end_properly(self, now: float, ending: Ending) -> None:
        duration_s = round(now - self._opened_at, 3)
        self._emit(now, "session.ended", session_duration_seconds=duration_s, audio_duration_seconds=None)
        self._out.append(Close(1000))
        self._finish(now, ending)

    def _close_wrongly(self, now: float, code: int) -> None:
        self._out.append(Close(code))
        self._finish(now, Ending.FAULT)

    def _refuse(self, now: float, code: str, message: str, **facts: object) -> None:
        self._emit(now, "session.error", code=code, message=message, **facts)
        self._end_refused(now, code)

    def _end_refused(self, now: float, code: str) -> None:
        self.record.error = code
        self._out.append(Close(CLOSE_POLICY, code))
        self._finish(now, Ending.REFUSED)

    def _finish(self, now: float, ending: Ending) -> None:
        """Nothing is sent any more. Only a session that was lost can be resumed."""
        if self.record.ending is not Ending.CLIENT_ENDED:
            self.record.ending = ending
        was_active = self.phase is Phase.ACTIVE
        self.phase = Phase.ENDED
        self._timers.clear()
        self._reply = None
        self._directory.end(self._session_id)
        is_lost = self.record.ending in (Ending.LOST, Ending.FAULT)
        if is_lost and was_active and self._config is not None:
            self._directory.lose(self._config, self._resume_token, now)

    # Frames.

    def _at(self, due_at: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._timers, (due_at, next(self._order), action))

    def _emit(self, now: float, kind: str, **facts: object) -> None:
        self._out.append(event(kind, now + self._unix_offset_s, **facts))

    def _error(self, now: float, code: str, message: str) -> None:
        """An error of the protocol: it names neither session nor field, and the socket stays open."""
        self._emit(now, "session.error", code=code, message=message)

    def _config_error(self, now: float, refused: Refused) -> None:
        facts = {"session_id": self._session_id, "param": refused.param}
        self._emit(now, "session.error", code=refused.code, message=refused.message, **facts)

    def _malformed(self, kind: str, now: float) -> None:
        if self._config is None and kind != "input.audio":
            self.record.broke(Violation.FIRST_MESSAGE)
        self._error(now, "invalid_format", f"Invalid message format for type '{kind}'")

    def _note_late(self, raw: str | bytes) -> None:
        """A message after the end: in flight, mostly; only a second `session.end` breaks a rule."""
        message = _parse(raw)
        if message is not None and message.get("type") == "session.end":
            self.record.client_messages["session.end"] += 1
            if self.record.client_messages["session.end"] > 1:
                self.record.broke(Violation.SECOND_END)

    def _emit_unknown(self, now: float) -> None:
        self._emit(now, "simulator.unknown", note=f"{MARK} an event that nobody knows", nested={"deep": [1, None]})

    def _emit_garbage(self, now: float) -> None:
        stray = new_id("resp")
        self._out += [b"not JSON", b"[1,2]", b'{"type":7}', Binary(b"\x00\xff\xfe")]
        self._emit(now, "reply.audio", reply_id=stray, data="*** not base64 ***")
        self._emit(now, "reply.audio", reply_id=stray, data="AAAA")
        self._emit(now, "reply.audio", reply_id=stray)


def without_greeting(config: SessionConfig) -> SessionConfig:
    """The configuration of a resumed session, which greets nobody a second time."""
    return replace(config, greeting=None)


def _parse(raw: str | bytes) -> Message | None:
    """A JSON object, None for anything else."""
    if isinstance(raw, bytes):
        return None
    try:
        message = orjson.loads(raw)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
