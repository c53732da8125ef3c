"""`pool.base.logs`: the same lines from everybody, no phone numbers in them, and nothing that moves a cursor."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pool.base import logs
from pool.base.errors import SettingsInvalid

Said = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a test configures ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger(logs.LOGGER).setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def said(stream: io.StringIO) -> Said:
    """What has been logged so far, as objects."""
    logs.configure(json=True, variables={}, stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_its_time_its_level_and_its_event(said: Said) -> None:
    """The time is UTC; what is bound to the task is there, too."""
    with structlog.contextvars.bound_contextvars(room="demo"):
        structlog.get_logger().info("barge_in", flushed_ms=340)
    (line,) = said()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "barge_in", "level": "info", "room": "demo", "flushed_ms": 340}


def test_a_librarys_line_comes_out_the_same_way(said: Said) -> None:
    """With its name, from WARNING up."""
    logging.getLogger("some.library").info("burst of chatter")
    logging.getLogger("some.library").warning("lost %s", "a job")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old way", stacklevel=1)
    lines = said()
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("some.library", "warning"),
        ("py.warnings", "warning"),
    ]
    assert lines[0]["event"] == "lost a job"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("sip-+4915112345678-x", "sip-+…78-x"),
        ("123456", "123456"),
        ("1234567", "…67"),
        ("12345678 and 87654321", "…78 and …21"),
        ("٠١٢٣٤٥٦٧", "…٦٧"),
        (["+4915112345678"], ["+…78"]),
        ({"from": ("15112345678",)}, {"from": ["…78"]}),
        (1764000000123, 1764000000123),
        (b"15112345678", "…78"),
        ("PA_x7fJk21Q", "PA_x7fJk21Q"),
        (Path("/records/4915112345678.wav"), "/records/…78.wav"),
        (ConnectionError("no answer from +4915112345678"), "no answer from +…78"),
        ([Path("4915112345678")], ["…78"]),
        ({"+4915112345678": Path("a")}, {"+…78": "a"}),
        (None, None),
        (True, True),
        (0.25, 0.25),
    ],
)
def test_long_runs_of_digits_are_masked(said: Said, value: object, shown: object) -> None:
    """In every text however deep, but for the last two; numbers are times and fences, and stay."""
    structlog.get_logger().info("joined", room=value)
    assert said()[0]["room"] == shown


def test_a_librarys_text_and_a_traceback_are_masked_too(said: Said) -> None:
    """Wherever a number got to."""
    logging.getLogger("redis").warning("no answer about %s", "+4915112345678")
    try:
        raise ValueError("room 4915112345678")
    except ValueError:
        structlog.get_logger().exception("delivery_failed")
    text = json.dumps(said(), ensure_ascii=False)
    assert "no answer about +…78" in text
    assert "ValueError: room …78" in text


@given(st.text())
def test_no_text_keeps_seven_digits_in_a_row(text: str) -> None:
    """Whatever stands around them."""
    shown = logs.mask(None, "info", {"room": text + "0123456789" + text})["room"]
    longest = max(len(run) for run in "".join(c if c.isdecimal() else " " for c in shown).split())
    assert longest < 7


@pytest.mark.parametrize("cut", [20, 70, None], ids=["cut in its head", "cut in its claims", "whole"])
def test_a_token_in_a_librarys_text_is_masked(said: Said, cut: int | None) -> None:
    """LiveKit repeats the token that it refuses, and a library may log what LiveKit said."""
    token = jwt.encode({"iss": "key", "sub": "anna"}, "a secret of thirty-two characters")[:cut]
    logging.getLogger("somebody").warning("401 - invalid token: %s, error: its signature", token)
    (line,) = said()
    assert line["event"] == "401 - invalid token: …, error: its signature"


def test_livekits_own_lines_are_for_debugging(said: Said) -> None:
    """What its attempts come to stands in one line of ours."""
    logging.getLogger("livekit").error("signal connection failed, attempt 2")
    assert said() == []


def test_what_json_has_no_word_for_still_comes_out(said: Said) -> None:
    """Logging never raises because of what is logged."""
    structlog.get_logger().info("odd", surrogate="\ud800", large=2**70, thing=object, nan=float("nan"))
    assert said()[0]["large"] == 2**70


def test_a_terminal_shows_control_characters_spelt_out(stream: io.StringIO) -> None:
    """A room's name cannot clear the screen of whoever reads the log, nor begin a line of its own."""
    logs.configure(json=False, variables={}, stream=stream)
    structlog.get_logger().info("joined", room="a\x1b[2J\nINFO-forged\u202e")
    assert r"a\x1b[2J\nINFO-forged\u202e" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(("level", "seen"), [("debug", 3), ("info", 2), ("WARNING", 1), ("error", 0), ("", 2)])
def test_the_level_is_a_setting(stream: io.StringIO, level: str, seen: int) -> None:
    """Of our own lines; `info` unless said otherwise."""
    logs.configure(json=True, variables={"ROOMPOOL_LOG_LEVEL": level}, stream=stream)
    log = structlog.get_logger()
    log.debug("one")
    log.info("two")
    log.warning("three")
    assert len(stream.getvalue().splitlines()) == seen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variable", "is_json"),
    [
        (io.StringIO(), "", True),
        (Terminal(), "", False),
        (Terminal(), "1", True),
        (io.StringIO(), "false", False),
    ],
    ids=["pipe", "terminal", "terminal asked for json", "pipe asked for text"],
)
def test_json_unless_a_person_reads(stream: io.StringIO, variable: str, is_json: bool) -> None:
    """A terminal gets colours; the variable decides over both."""
    logs.configure(variables={"ROOMPOOL_LOG_JSON": variable}, stream=stream)
    structlog.get_logger().info("hello")
    assert stream.getvalue().startswith("{") is is_json


@pytest.mark.parametrize("variable", ["ROOMPOOL_LOG_LEVEL", "ROOMPOOL_LOG_JSON"])
def test_an_unknown_word_is_a_settings_error(variable: str) -> None:
    """By the variable's name, with the words there are."""
    with pytest.raises(SettingsInvalid) as caught:
        logs.configure(variables={variable: "loud"})
    assert caught.value.problems[0].startswith(f"{variable}: ")


def test_configuring_twice_says_nothing_twice(stream: io.StringIO, said: Said) -> None:
    """The second call replaces the first."""
    logs.configure(json=True, variables={}, stream=stream)
    structlog.get_logger().info("once")
    assert len(said()) == 1
