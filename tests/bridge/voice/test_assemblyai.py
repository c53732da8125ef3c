"""The dialect: every known message, the vendor's two descriptions of some, and garbage.

Frames are written from the published protocol and from what others saw on the live service; none was recorded by us.
"""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.spec import VoiceSpec
from bridge.voice.assemblyai import AssemblyAI
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

AUDIO = base64.b64encode(b"\x01\x02" * 240).decode()


def decode(**frame: Any) -> VoiceEvent | None:
    """One frame, through a fresh dialect."""
    return AssemblyAI().decode(json.dumps(frame).encode())


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (
            {"type": "session.ready", "session_id": "sess_1", "config": {"output": {"voice": "alba"}}},
            Ready("sess_1", "alba"),
        ),
        ({"type": "session.ready", "session_id": "sess_1"}, Ready("sess_1")),
        ({"type": "input.speech.started"}, CallerStarted()),
        ({"type": "input.speech.stopped"}, CallerStopped()),
        ({"type": "transcript.user", "item_id": "m", "text": "Hello"}, CallerSaid("Hello")),
        ({"type": "reply.started", "reply_id": "resp_1"}, ReplyStarted("resp_1")),
        ({"type": "reply.audio", "reply_id": "resp_1", "data": AUDIO}, ReplyAudio("resp_1", b"\x01\x02" * 240)),
        ({"type": "reply.done", "reply_id": "resp_1", "status": "completed"}, ReplyDone("resp_1", False)),
        ({"type": "reply.done", "reply_id": "resp_1", "status": "interrupted"}, ReplyDone("resp_1", True)),
        ({"type": "reply.done", "reply_id": "resp_1"}, ReplyDone("resp_1", False)),
        (
            {"type": "transcript.agent", "reply_id": "resp_1", "text": "Hi", "interrupted": True},
            AgentSaid("resp_1", "Hi", True),
        ),
        ({"type": "session.error", "code": "UNAUTHORIZED", "message": "x"}, VoiceFault("unauthorized")),
        ({"code": "invalid_format", "message": "x"}, VoiceFault("invalid_format")),
        ({"type": "error", "code": "internal_error"}, VoiceFault("internal_error")),
        (
            {
                "type": "session.error",
                "code": "invalid_value",
                "param": "output.voice",
                "message": "Invalid voice 'james'. Must be one of: alba, anna, vera",
            },
            VoiceFault("invalid_value", "output.voice", ("alba", "anna", "vera")),
        ),
        ({"type": "session.ended", "session_duration_seconds": 3.2, "audio_duration_seconds": None}, VoiceEnded()),
        ({"type": "session.updated", "config": {}}, None),
        ({"type": "transcript.agent.delta", "delta": "Hi "}, None),
        ({"type": "something.new"}, Unknown("something.new")),
        ({}, Unknown("")),
    ],
    ids=lambda value: str(value.get("type", "typeless")) if isinstance(value, dict) else "",
)
def test_each_message_has_one_meaning(frame: dict[str, Any], event: VoiceEvent | None) -> None:
    """The published shapes, and the odd ones that were seen."""
    assert decode(**frame) == event


def test_audio_without_a_reply_id_belongs_to_the_open_reply() -> None:
    """The documents' frames carry no id."""
    dialect = AssemblyAI()
    dialect.decode(b'{"type":"reply.started","reply_id":"resp_9"}')
    assert dialect.decode(json.dumps({"type": "reply.audio", "data": ""}).encode()) == ReplyAudio("resp_9", b"")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"type":"reply.audio"}',
        b'{"type":"reply.audio","data":"!!"}',
        b'"text"',
        b'{"type":7}',
        b'{"type":[1]}',
    ],
)
def test_what_is_no_message_is_the_peers_fault(message: bytes) -> None:
    """It gets one typed error."""
    with pytest.raises(BadMessage):
        AssemblyAI().decode(message)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(
        lambda value: json.dumps({"type": "session.ready", "config": value}).encode()
    )
)
def test_no_message_raises_anything_else(message: bytes) -> None:
    """Whatever a peer sends ends in an event or in BadMessage."""
    try:
        AssemblyAI().decode(message)
    except BadMessage:
        return


def test_other_instructions_change_nothing_else() -> None:
    """In mid-session voice, greeting and format are fixed: naming one would be an error."""
    assert json.loads(AssemblyAI().instruct("Go on.")) == {
        "type": "session.update",
        "session": {"system_prompt": "Go on."},
    }


def test_hello_says_only_what_was_set() -> None:
    """An explicit null greeting is refused, and any turn_detection object switches the vendor's adaptive mode off."""
    plain = json.loads(AssemblyAI().hello(VoiceSpec(prompt="p"), "alba"))["session"]
    assert set(plain) == {"system_prompt", "input", "output"}
    assert set(plain["input"]) == {"format"}
    spec = VoiceSpec(prompt="p", greeting="Hi", turn_detection={"min_silence": 600}, keyterms=("Okonkwo",))
    full = json.loads(AssemblyAI().hello(spec, "anna"))["session"]
    assert (full["greeting"], full["output"]["voice"]) == ("Hi", "anna")
    assert full["input"]["turn_detection"] == {"min_silence": 600}
    assert full["input"]["keyterms"] == ["Okonkwo"]


@given(st.binary(max_size=4800))
def test_audio_is_the_same_json_that_a_serializer_would_write(pcm: bytes) -> None:
    """Concatenation is an optimisation, not a dialect of its own."""
    assert json.loads(AssemblyAI().audio(pcm)) == {"type": "input.audio", "audio": base64.b64encode(pcm).decode()}
