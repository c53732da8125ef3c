"""What `session.update` may say, and the `config` that is echoed. Pure.

The top level of `session` is a closed set; unknown keys inside `input` and `output` are dropped without a word. In the
first update a wrong value is fatal, later the same one is not: that decision is the session's, not this file's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bridge.simulator.options import SimulatorOptions
from bridge.simulator.sound import RATE_HZ

TOP_LEVEL = frozenset(
    "agent_id system_prompt greeting tools input output llm pre_connect_requests webhook".split()  # noqa: SIM905
)
DEFAULT_VOICE = "alba"
MAX_KEYTERMS = 100
MAX_PROMPT_CHARACTERS = 1750
ENDPOINT_MS = {"min_latency": 1300, "balanced": 1950, "max_accuracy": 3200}
"""Silence that ends a turn, by transcription mode, as measured on the live service."""

BAD_UPDATE = "Invalid message format for type 'session.update'"


class Refused(Exception):
    """An update that is not accepted; the client is at fault.

    Attributes:
        code: One of the published codes, lower case.
        param: The field, None for an error of the message as such.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """A session's configuration after its defaults were filled in."""

    session_id: str
    system_prompt: str = ""
    greeting: str | None = None
    voice: str = DEFAULT_VOICE
    volume: float | None = None
    tools: tuple[Mapping[str, object], ...] = ()
    hearing: Mapping[str, object]
    """The options of `input`, each of `HEARING`, null where it was not set."""

    @property
    def endpoint_ms(self) -> int:
        """Silence that ends a turn."""
        least = self._turn_detection.get("min_silence")
        if isinstance(least, int):
            return least
        return ENDPOINT_MS[str(self.hearing["transcription_mode"] or "balanced")]

    @property
    def allows_barge_in(self) -> bool:
        """Whether the caller can interrupt."""
        return self._turn_detection.get("interrupt_response") is not False

    @property
    def guards_greeting(self) -> bool:
        """Whether the greeting is protected from interruption; what the caller says meanwhile is lost."""
        turns = self._turn_detection.get("uninterruptible_turns")
        return isinstance(turns, list) and "greeting" in turns

    @property
    def _turn_detection(self) -> Mapping[str, object]:
        asked = self.hearing["turn_detection"]
        return asked if isinstance(asked, Mapping) else {}

    def without_greeting(self) -> "SessionConfig":
        """That of a resumed session, which greets nobody a second time."""
        return replace(self, greeting=None)

    def echo(self) -> dict[str, object]:
        """The `config` object of `session.updated` and `session.ready`; unset options are null, not their default."""
        audio = {"encoding": "audio/pcm", "sample_rate": RATE_HZ}
        return {
            "id": self.session_id,
            "system_prompt": self.system_prompt,
            "greeting": self.greeting,
            "input": {"type": "audio", "format": audio, **self.hearing},
            "output": {"type": "audio", "voice": self.voice, "format": audio, "volume": self.volume},
            "tools": [_echoed_tool(tool) for tool in self.tools],
            "llm": [],
            "pre_connect_requests": [],
        }


def first_config(session: object, *, session_id: str, options: SimulatorOptions, refuse_voice: bool) -> SessionConfig:
    """The configuration that the first update asks for.

    Raises:
        Refused: with `invalid_format` the session waits for a better one, with anything else it is over.
    """
    asked = _closed(session)
    if "agent_id" in asked:
        if len(asked) > 1:
            raise Refused("invalid_value", "agent_id is mutually exclusive with other session fields", "agent_id")
        raise Refused("agent_not_found", "Agent not found", "agent_id")
    output = _object(asked, "output")
    voice = output.get("voice", DEFAULT_VOICE)
    if not isinstance(voice, str):
        raise Refused("invalid_format", BAD_UPDATE)
    offered = [known for known in options.voices if not (refuse_voice and known == voice)]
    if voice not in offered:
        raise Refused("invalid_value", _no_such_voice(voice, offered), "output.voice")
    _check_format(output)
    blank = SessionConfig(session_id=session_id, hearing=dict.fromkeys(HEARING))
    return replace(_mutable(blank, asked), greeting=_text(asked, "greeting"), voice=voice)


def later_config(current: SessionConfig, session: object) -> SessionConfig:
    """The configuration after a later update.

    Raises:
        Refused: nothing of the update is taken over; the session goes on.
    """
    asked = _closed(session)
    if "agent_id" in asked:
        raise Refused("agent_id_not_first", "agent_id can only be set on the first session.update", "agent_id")
    output = _object(asked, "output")
    fixed = ["greeting"] if "greeting" in asked else []
    fixed += [f"output.{name}" for name in ("voice", "format", "type") if name in output]
    if fixed:
        message = f"'{fixed[0]}' cannot be changed after the first session.update"
        raise Refused("immutable_field", message, fixed[0])
    return _mutable(current, asked)


def _closed(session: object) -> Mapping[str, object]:
    if not isinstance(session, Mapping) or not session.keys() <= TOP_LEVEL:
        raise Refused("invalid_format", BAD_UPDATE)
    if "llm" in session:
        message = "BYO LLM config is not allowed on session.update; define it on a stored agent via POST /v1/agents"
        raise Refused("invalid_value", message, "llm")
    return session


def _mutable(current: SessionConfig, asked: Mapping[str, object]) -> SessionConfig:
    hearing_asked = _object(asked, "input")
    _check_format(hearing_asked)
    hearing = dict(current.hearing)
    for name, is_valid in HEARING.items():
        if name in hearing_asked:
            value = hearing_asked[name]
            if value is not None and not is_valid(value):
                raise Refused("invalid_value", f"Invalid value for 'input.{name}'", f"input.{name}")
            hearing[name] = value
    volume = _object(asked, "output").get("volume", current.volume)
    if volume is not None and not _between(volume, 0, 100):
        raise Refused("invalid_value", "Invalid value for 'output.volume'", "output.volume")
    return replace(
        current,
        system_prompt=_text(asked, "system_prompt") or ("" if "system_prompt" in asked else current.system_prompt),
        tools=_tools(asked["tools"]) if "tools" in asked else current.tools,
        volume=volume,  # type: ignore[arg-type] # checked by _between
        hearing=hearing,
    )


def _text(asked: Mapping[str, object], name: str) -> str | None:
    """A string field, None when it is absent; an explicit null is refused (seen live for `greeting`)."""
    if name not in asked:
        return None
    value = asked[name]
    if not isinstance(value, str):
        raise Refused("invalid_format", BAD_UPDATE)
    return value


def _object(asked: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = asked.get(name, {})
    if not isinstance(value, Mapping):
        raise Refused("invalid_format", BAD_UPDATE)
    return value


def _check_format(direction: Mapping[str, object]) -> None:
    """Of the published encodings the simulator speaks the default only, and says so."""
    asked = direction.get("format", {})
    if not isinstance(asked, Mapping):
        raise Refused("invalid_value", "Audio format must be a JSON object", "format")
    if asked.get("encoding", "audio/pcm") != "audio/pcm" or asked.get("sample_rate", RATE_HZ) != RATE_HZ:
        raise Refused("invalid_value", f"The roompool simulator speaks audio/pcm at {RATE_HZ} Hz only", "format")


def _no_such_voice(voice: str, offered: list[str]) -> str:
    return f"Invalid voice '{voice}'. Must be one of: {', '.join(offered)}"


def _tools(asked: object) -> tuple[Mapping[str, object], ...]:
    if not isinstance(asked, list):
        raise Refused("invalid_format", BAD_UPDATE)
    for number, tool in enumerate(asked):
        if not isinstance(tool, Mapping) or tool.get("type") != "function" or not isinstance(tool.get("name"), str):
            raise Refused("invalid_format", BAD_UPDATE)
        parameters = tool.get("parameters", {})
        field = f"tools[{number}].parameters"
        if not isinstance(parameters, Mapping):
            raise Refused("invalid_value", f"'{field}' must be an object", field)
        if not isinstance(parameters.get("properties", {}), Mapping):
            raise Refused("invalid_value", f"'{field}.properties' must be an object", f"{field}.properties")
    return tuple(asked)


def _echoed_tool(tool: Mapping[str, object]) -> dict[str, object]:
    blank: dict[str, object] = {"description": "", "parameters": {}, "timeout_seconds": 120}
    blank |= {"execution_mode": "interactive", "http": None, "response_instructions": None}
    blank |= {"deployment_id": None, "session_update": None, "image_tag": None}
    return blank | dict(tool)


def _between(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _whole_between(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and _between(value, low, high)


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _turn_detection(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        is_valid(value[name]) for name, is_valid in TURN_DETECTION.items() if value.get(name) is not None
    )


TURN_DETECTION: Mapping[str, Callable[[object], bool]] = {
    "vad_threshold": lambda value: _between(value, 0, 1),
    "min_silence": lambda value: _whole_between(value, 50, 10_000),
    "max_silence": lambda value: _whole_between(value, 50, 10_000),
    "interrupt_response": lambda value: isinstance(value, bool),
    "interruption_delay": lambda value: _whole_between(value, 0, 1000),
    "uninterruptible_turns": _strings,
    "type": lambda value: value in ("semantic_vad", "server_vad"),
}

HEARING: Mapping[str, Callable[[object], bool]] = {
    "turn_detection": _turn_detection,
    "keyterms": lambda value: _strings(value) and isinstance(value, list) and len(value) <= MAX_KEYTERMS,
    "transcription_mode": lambda value: isinstance(value, str) and value in ENDPOINT_MS,
    "continuous_partials": lambda value: isinstance(value, bool),
    "transcription_prompt": lambda value: isinstance(value, str) and len(value) <= MAX_PROMPT_CHARACTERS,
    "language_codes": _strings,
    "voice_focus": lambda value: value in ("near-field", "far-field"),
    "voice_focus_threshold": lambda value: _between(value, 0, 1),
}
"""The options of `input` in the order of the echo, and what each accepts. Null is accepted everywhere."""
