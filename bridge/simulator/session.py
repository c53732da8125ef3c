"""One connection of the Voice Agent API, as a pure object: messages and time in, frames out.

The caller of `receive` and `tick` owns the socket and the clock. Both only ever add to what `take` returns, and
neither raises, whatever a client sends. Every time is the loop's clock in seconds; `due_at` says when to tick.
Phases: WAIT_FIRST -> STARTING -> ACTIVE -> ENDED, and back to none. What is said in ACTIVE is `talk.py`'s.
"""

import enum
from collections.abc import Callable, Mapping

import orjson
import pybase64

from bridge.simulator.agenda import Agenda, Outbox
from bridge.simulator.config import Refused, SessionConfig, first_config, later_config
from bridge.simulator.directory import Directory
from bridge.simulator.lines import line
from bridge.simulator.pace import Pace
from bridge.simulator.records import Ending, SessionRecord, Violation
from bridge.simulator.sound import BYTES_PER_MS
from bridge.simulator.talk import Talk
from bridge.simulator.texts import MARK
from bridge.simulator.wire import Abort, Close, Message, Outgoing, garbage, new_id, parse, unknown_event

UPDATED_BEFORE_READY_S = 0.015
EXPIRES_AFTER_S = 3595
"""Whatever was asked for, a session expires after about an hour."""
CLOSE_POLICY = 1008


class Phase(enum.Enum):
    """How far a connection has come."""

    WAIT_FIRST = "wait_first"
    """Open; the server says nothing before the client's first message."""
    STARTING = "starting"
    """Configured; `session.ready` is to come."""
    ACTIVE = "active"
    ENDED = "ended"


class VoiceSession:
    """One connection, from its opening to its end."""

    def __init__(self, directory: Directory, *, credential: str, now: float, unix_now: float) -> None:
        """Open a connection that showed `credential`: a key, a temporary token or a resume token; empty for none."""
        self._directory = directory
        self._options = directory.options
        self._faults = directory.take_faults()
        self._credential = credential
        self._opened_at = now
        self._session_id = new_id("sess")
        self._resume_token = new_id("resume")
        self.record = SessionRecord(self._session_id, opened_unix_ms=round(unix_now * 1000))
        directory.enter(self.record)

        self.phase = Phase.WAIT_FIRST
        self._config: SessionConfig | None = None
        self._outbox = Outbox(unix_now - now)
        self._agenda = Agenda()
        self._pace = Pace(now)
        self._talk = Talk(
            options=self._options,
            faults=self._faults,
            record=self.record,
            outbox=self._outbox,
            agenda=self._agenda,
            hang_up=self.hang_up,
        )
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
        return min(self._agenda.due_at, self._talk.due_at)

    @property
    def is_streaming(self) -> bool:
        """Whether the next thing to do is one frame of many, so that a shell may wait and send several at once."""
        return self._talk.is_streaming

    @property
    def has_output(self) -> bool:
        """Whether `take` would return something."""
        return bool(self._outbox.frames)

    def take(self) -> list[Outgoing]:
        """What to do with the socket, in order; the list is the caller's."""
        return self._outbox.take()

    def tick(self, now: float) -> None:
        """Do what is due, each thing at its own time, so that a late tick does not make the next ones late."""
        self._talk.catch_up(now)
        while self.phase is not Phase.ENDED and (due_at := self.due_at) <= now:
            if self._agenda.due_at <= due_at:
                self._agenda.do_next()
            else:
                self._talk.step(due_at)

    def receive(self, raw: str | bytes, now: float) -> None:
        """Take one message of the client's; binary ones are never part of the protocol."""
        self.tick(now)
        if self.phase is Phase.ENDED:
            self._note_late(raw)
            return
        message = parse(raw)
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
            self._outbox.put(Abort())
            self._finish(now, Ending.FAULT)

    def say(self, name: str, now: float) -> None:
        """Speak a line unasked, as the live service sometimes does; nothing while somebody has the floor.

        Raises:
            KeyError: no line is called `name`.
        """
        speech = line(name)
        if self.phase is Phase.ACTIVE:
            self._talk.say(speech, now)

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
            self._agenda.add(ready_at, self._say_updated)
        if self._faults.agent_timeout_ms is not None:
            self._agenda.add(now + self._faults.agent_timeout_ms / 1000, self._time_out)
        elif not self._faults.no_ready:
            self._agenda.add(ready_at + UPDATED_BEFORE_READY_S, self._become_ready)

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
        self._config = config.without_greeting()
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
        self._pace = Pace(now)
        self._emit(
            now,
            "session.ready",
            session_id=self._session_id,
            config=self._echo(),
            expires_at=int(now + self._outbox.unix_offset_s) + EXPIRES_AFTER_S,
            resume_token=self._resume_token,
        )
        self._arm_faults(now)
        if self._config.greeting:
            greeting = self._config.greeting
            greet_at = now + self._options.greeting_after_ms / 1000
            self._agenda.add(greet_at, lambda at: self._talk.greet(greeting, at))

    def _arm_faults(self, now: float) -> None:
        faults = self._faults
        if faults.unknown_event:
            self._outbox.put(unknown_event(now + self._outbox.unix_offset_s))
        if faults.typeless_error:
            self._outbox.put(orjson.dumps({"code": "server_error", "message": f"{MARK} an error without a type"}))
        if faults.garbage_frames:
            self._outbox.put(*garbage(now + self._outbox.unix_offset_s))
        if faults.drop_after_ms is not None:
            self._agenda.add(now + faults.drop_after_ms / 1000, self.drop)
        if faults.close_1011_after_ms is not None:
            self._agenda.add(now + faults.close_1011_after_ms / 1000, lambda at: self._close_wrongly(at, 1011))
        if faults.close_no_ended_after_ms is not None:
            self._agenda.add(now + faults.close_no_ended_after_ms / 1000, lambda at: self._close_wrongly(at, 1000))

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
        if self._config is not None and self._takes(pcm, now):
            self.record.audio_bytes += len(pcm)
            self._talk.hear(pcm, self._config, now)

    def _takes(self, pcm: bytes, now: float) -> bool:
        """Whether audio is taken although it may come too fast; as documented, the excess is dropped and told."""
        if self._pace.keeps(len(pcm) / BYTES_PER_MS, now):
            return True
        if self._pace.may_complain(now):
            self.record.broke(Violation.AUDIO_TOO_FAST)
            if self._options.is_docs:
                self._error(now, "audio_rate_violation", "Audio is sent faster than real time; the excess is dropped")
        return not self._options.is_docs

    def _on_create(self, message: Message, now: float) -> None:
        if self.phase is not Phase.ACTIVE or not isinstance(message.get("instructions", ""), str):
            self._malformed("reply.create", now)
            return
        self._talk.create(now)

    def _on_cancel(self, message: Message, now: float) -> None:
        reply_id = message.get("reply_id")
        if isinstance(reply_id, str):
            self._talk.cancel(reply_id, now)
        else:
            self._malformed("reply.cancel", now)

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
        self._outbox.put(Close(1000))
        self._finish(now, ending)

    def _close_wrongly(self, now: float, code: int) -> None:
        self._outbox.put(Close(code))
        self._finish(now, Ending.FAULT)

    def _refuse(self, now: float, code: str, message: str, **facts: object) -> None:
        self._emit(now, "session.error", code=code, message=message, **facts)
        self._end_refused(now, code)

    def _end_refused(self, now: float, code: str) -> None:
        self.record.error = code
        self._outbox.put(Close(CLOSE_POLICY, code))
        self._finish(now, Ending.REFUSED)

    def _finish(self, now: float, ending: Ending) -> None:
        """Nothing is sent any more. Only a session that was lost can be resumed."""
        if self.record.ending is not Ending.CLIENT_ENDED:
            self.record.ending = ending
        was_active = self.phase is Phase.ACTIVE
        self.phase = Phase.ENDED
        self._agenda.clear()
        self._directory.end(self._session_id)
        is_lost = self.record.ending in (Ending.LOST, Ending.FAULT)
        if is_lost and was_active and self._config is not None:
            self._directory.lose(self._config, self._resume_token, now)

    # Frames.

    def _emit(self, now: float, kind: str, **facts: object) -> None:
        self._outbox.emit(now, kind, **facts)

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
        message = parse(raw)
        if message is not None and message.get("type") == "session.end":
            self.record.client_messages["session.end"] += 1
            if self.record.client_messages["session.end"] > 1:
                self.record.broke(Violation.SECOND_END)
