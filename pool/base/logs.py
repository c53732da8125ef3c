"""How every line of every process comes out: structlog over the standard library's logging, on stderr.

JSON lines where a program reads them, colours on a terminal. Our own lines go through the logger `roompool`, whose
level is a setting; every other library speaks from WARNING up. Three rules are kept here so that no caller can forget
them: tokens and long runs of digits are masked, and on a terminal control characters are spelled out.
"""

import json as stdlib_json
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pool.base.errors import SettingsInvalid
from pool.base.text import printable

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}

LOGGER = "roompool"
"""The standard library's logger of all our lines. One name: the event says where it is from, at less cost."""

DIGIT_RUN = re.compile(r"\d{5,}(?=\d\d)")
"""All but the last two of seven or more digits in a row. SIP puts phone numbers into room names and identities; the
last two tell two callers apart in a log. Six digits stay, for ports, status codes and fractions of a second."""

TOKEN = re.compile(r"\beyJ[\w-]{10,}(?:\.[\w-]*)*")
"""A JSON web token, whole or cut off. LiveKit's refusal repeats the token that it was shown, and the SDK's core logs
the refusal (seen); with a clock that is off such a token is good elsewhere."""

MULTILINE_KEYS = frozenset({"exception", "stack"})
"""Made by us out of tracebacks, so their line breaks are meant."""


def configure(
    *,
    json: bool | None = None,
    level: str | None = None,
    variables: Mapping[str, str] = os.environ,
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process; a second call replaces the first.

    Args:
        json: JSON lines or colours. None: as ROOMPOOL_LOG_JSON says, else JSON unless `stream` is a terminal.
        level: Of our own lines. None: as ROOMPOOL_LOG_LEVEL says, else info.
        variables: Where the two are looked up.
        stream: Where the lines go; stderr when None.

    Raises:
        SettingsInvalid: one of the two variables has a value we do not know.
    """
    stream = stream or sys.stderr
    chosen_level = _choice(variables, "ROOMPOOL_LOG_LEVEL", LEVELS, level, default=logging.INFO)
    chosen_json = _choice(variables, "ROOMPOOL_LOG_JSON", SWITCH, None, default=not stream.isatty())
    sink = logging.StreamHandler(stream)
    sink.setFormatter(_formatter(json=chosen_json if json is None else json, colours=stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [sink]
    root.setLevel(logging.WARNING)
    logging.getLogger(LOGGER).setLevel(chosen_level)
    # LiveKit's SDK tells each of its failed attempts; what they come to stands in one line of ours.
    logging.getLogger("livekit").setLevel(logging.WARNING if chosen_level == logging.DEBUG else logging.CRITICAL)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(chosen_level),
        logger_factory=lambda *names: logging.getLogger(".".join((LOGGER, *names))),
        cache_logger_on_first_use=False,  # a module's logger is made at import, before this runs
    )


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask tokens and runs of seven or more digits in every text, however deep, and in what is written of any object.

    Numbers stay: fences and times are ours.
    """
    for key, value in event.items():
        event[key] = _masked(value)
    return event


def spell_out_control(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Write what does not print as an escape, so that no room name can move the cursor of whoever reads the log."""
    for key, value in event.items():
        if isinstance(value, str) and key not in MULTILINE_KEYS:
            event[key] = printable(value)
    return event


def dump_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """One JSON object. What orjson refuses (a lone surrogate, an int of more than 64 bits) still comes out."""
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:
        return stdlib_json.dumps(event, default=str)


_SHARED: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def _formatter(*, json: bool, colours: bool) -> logging.Formatter:
    # Tracebacks without local variables: those may hold a token.
    ending: list[Processor] = (
        [structlog.processors.format_exc_info, mask, dump_line]
        if json
        else [
            structlog.processors.format_exc_info,
            mask,
            spell_out_control,
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.contextvars.merge_contextvars, *_SHARED],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
    )


def _masked(value: Any) -> Any:
    match value:
        case str():
            return DIGIT_RUN.sub("…", TOKEN.sub("…", value))
        case bytes():
            return _masked(value.decode(errors="replace"))
        case list() | tuple() | set() | frozenset():
            return [_masked(item) for item in value]
        case dict():
            return {_masked(key): _masked(item) for key, item in value.items()}
        case None | int() | float():
            return value
        case _:
            return _masked(str(value))


def _choice(
    variables: Mapping[str, str], name: str, known: Mapping[str, Any], said: str | None, *, default: Any
) -> Any:
    word = said or variables.get(name, "")
    if not word:
        return default
    if word.lower() not in known:
        raise SettingsInvalid([f"{name}: is none of the words it can be. Cure: one of {', '.join(known)}."])
    return known[word.lower()]
