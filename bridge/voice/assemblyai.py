"""AssemblyAI's Voice Agent API as a dialect: translation only, no sockets, no clock.

Where the vendor's two descriptions differ (its documents, and what was seen on the live service), this file accepts
both: upper- and lower-case error codes, `session.updated` before or without the first `session.ready`, a missing
reply id, an error without a type. Frames in our tests are written from the published descriptions; we hold no key.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pybase64

from bridge.spec import VoiceSpec
from bridge.voice.events import (
    AgentSaid,
    BadMessage,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    Ready,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    Unknown,
    VoiceEnded,
    VoiceEvent,
    VoiceFault,
)

DEFAULT_URL = "wss://agents.assemblyai.com/v1/ws"

MAX_KEYTERMS = 100
MAX_KEYTERM_CHARS = 50
"""The service ignores longer ones without a word, and more than a hundred are refused."""

_PASSED_OVER = frozenset(
    {"session.updated", "transcript.user.delta", "transcript.agent.delta", "reply.error", "tool.call"}
)
"""Known messages without a meaning for a call as it is now: acknowledgements, partial words. A failed reply is followed
by its `reply.done`; tools are not declared, so none is called."""

_AUDIO_HEAD = b'{"type":"input.audio","audio":"'
_AUDIO_TAIL = b'"}'
_VOICE_LIST = re.compile(r"Must be one of: ([a-z0-9_, -]{1,2000})")


class AssemblyAI:
    """One voice session's translation. Holds nothing but the name of the reply that is open."""

    def __init__(self) -> None:
        self._open_reply = ""

    def headers(self, key: str) -> Mapping[str, str]:
        """The headers of the upgrade request. Never log them."""
        return {"Authorization": f"Bearer {key}"}

    def hello(self, spec: VoiceSpec, voice: str) -> bytes:
        """The first message: the server is silent until it comes. `voice` is one of the spec's."""
        session: dict[str, Any] = {"system_prompt": spec.prompt}
        if spec.greeting:  # an explicit null or empty greeting is refused or read as a sentence
            session["greeting"] = spec.greeting
        heard: dict[str, Any] = {"format": {"encoding": "audio/pcm"}}
        if spec.keyterms:
            heard["keyterms"] = list(spec.keyterms)
        if spec.turn_detection is not None:
            heard["turn_detection"] = dict(spec.turn_detection)
        session["input"] = heard
        session["output"] = {"voice": voice, "format": {"encoding": "audio/pcm"}}
        return orjson.dumps({"type": "session.update", "session": session})

    def instruct(self, prompt: str) -> bytes:
        """Other instructions in mid-session: they count from the next turn, and never make the agent speak."""
        return orjson.dumps({"type": "session.update", "session": {"system_prompt": prompt}})

    def audio(self, pcm: bytes | memoryview) -> bytes:
        """A piece of the caller's audio. Concatenated: base64 needs no escaping, a serializer costs ten times more."""
        return _AUDIO_HEAD + pybase64.b64encode(pcm) + _AUDIO_TAIL

    def farewell(self) -> bytes:
        """Ends the voice session; closing the socket without it is billed for 30 s more."""
        return b'{"type":"session.end"}'

    def decode(self, message: bytes) -> VoiceEvent | None:
        """Translate one message; None for one that tells us nothing new.

        Raises:
            BadMessage: it is not a JSON object, or a field we need has the wrong type.
        """
        try:
            frame = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            raise BadMessage("not JSON") from error
        if not isinstance(frame, dict):
            raise BadMessage("not a JSON object")
        kind = frame.get("type", "session.error" if "code" in frame else "")
        if not isinstance(kind, str):
            raise BadMessage("type is no text")
        if kind in _PASSED_OVER:
            return None
        decoder = self._DECODERS.get(kind)
        if decoder is None:
            return Unknown(kind)
        return decoder(self, frame)

    def _ready(self, frame: Mapping[str, Any]) -> VoiceEvent:
        config = frame.get("config")
        output = config.get("output") if isinstance(config, dict) else None
        voice = output.get("voice") if isinstance(output, dict) else None
        return Ready(
            voice_session=_word(_text(frame, "session_id")), voice=_word(voice) if isinstance(voice, str) else ""
        )

    def _reply_started(self, frame: Mapping[str, Any]) -> VoiceEvent:
        self._open_reply = _text(frame, "reply_id")
        return ReplyStarted(self._open_reply)

    def _reply_audio(self, frame: Mapping[str, Any]) -> VoiceEvent:
        data = frame.get("data")
        if not isinstance(data, str):
            raise BadMessage("reply.audio without data")
        try:
            pcm = pybase64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadMessage("reply.audio is not base64") from error
        return ReplyAudio(_text(frame, "reply_id") or self._open_reply, pcm)

    def _reply_done(self, frame: Mapping[str, Any]) -> VoiceEvent:
        reply = _text(frame, "reply_id") or self._open_reply
        self._open_reply = ""
        return ReplyDone(reply, interrupted=frame.get("status") == "interrupted")

    def _agent_said(self, frame: Mapping[str, Any]) -> VoiceEvent:
        return AgentSaid(
            _text(frame, "reply_id") or self._open_reply, _text(frame, "text"), frame.get("interrupted") is True
        )

    def _fault(self, frame: Mapping[str, Any]) -> VoiceEvent:
        found = _VOICE_LIST.search(_text(frame, "message"))
        names = tuple(name.strip() for name in found[1].split(",") if name.strip()) if found else ()
        return VoiceFault(_word(_text(frame, "code")).lower() or "unnamed", _word(_text(frame, "param")), names)

    _DECODERS: Mapping[str, Callable[["AssemblyAI", Mapping[str, Any]], VoiceEvent]] = {
        "session.ready": _ready,
        "input.speech.started": lambda _self, _frame: CallerStarted(),
        "input.speech.stopped": lambda _self, _frame: CallerStopped(),
        "transcript.user": lambda _self, frame: CallerSaid(_text(frame, "text")),
        "reply.started": _reply_started,
        "reply.audio": _reply_audio,
        "reply.done": _reply_done,
        "transcript.agent": _agent_said,
        "session.error": _fault,
        "error": _fault,
        "session.ended": lambda _self, _frame: VoiceEnded(),
    }


def _text(frame: Mapping[str, Any], field: str) -> str:
    value = frame.get(field)
    return value if isinstance(value, str) else ""


def _word(raw: str) -> str:
    """A peer's name for something, made safe for a log line: letters, digits, dots, dashes, underscores, at most 64."""
    return re.sub(r"[^A-Za-z0-9._\[\]-]", "", raw[:256])[:64]
