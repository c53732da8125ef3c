"""What the simulator refuses, with the published codes, texts and close codes; written from the published protocol."""

import pytest

from bridge.simulator.options import LIVE_VOICES, Faults, Profile, Resume, SimulatorOptions
from bridge.simulator.records import Violation
from bridge.simulator.wire import Close
from tests.conformance.virtual import BYTES_PER_MS, VirtualClient, client

VOICES = ", ".join(LIVE_VOICES)


@pytest.mark.parametrize("key", ["", "refused", "mine"], ids=["none", "well known", "by option"])
def test_a_bad_key_is_told_in_band(key: str) -> None:
    """Live, a bad key does not fail the upgrade: an error with null ids comes at once, then 1008."""
    caller = client(SimulatorOptions(refused_keys=frozenset({"mine"})), key=key)
    (error,) = caller.errors()
    assert error["code"] == "unauthorized"
    assert error["message"] == "Authentication failed"
    assert error["session_id"] is None
    assert error["param"] is None
    assert isinstance(caller.closed, Close)
    assert caller.closed.code == 1008


FATAL = {
    "voice": (
        {"output": {"voice": "james"}},
        "invalid_value",
        f"Invalid voice 'james'. Must be one of: {VOICES}",
        "output.voice",
    ),
    "agent and prompt": (
        {"agent_id": "agent_1", "system_prompt": "x"},
        "invalid_value",
        "agent_id is mutually exclusive with other session fields",
        "agent_id",
    ),
    "unknown agent": ({"agent_id": "agent_1"}, "agent_not_found", "Agent not found", "agent_id"),
    "llm": (
        {"llm": []},
        "invalid_value",
        "BYO LLM config is not allowed on session.update; define it on a stored agent via POST /v1/agents",
        "llm",
    ),
    "format as a string": (
        {"input": {"format": "audio/pcm"}},
        "invalid_value",
        "Audio format must be a JSON object",
        "format",
    ),
    "tool": (
        {"tools": [{"type": "function", "name": "f", "parameters": {"properties": []}}]},
        "invalid_value",
        "'tools[0].parameters.properties' must be an object",
        "tools[0].parameters.properties",
    ),
}


@pytest.mark.parametrize(("session", "code", "text", "param"), FATAL.values(), ids=FATAL)
def test_a_wrong_value_in_the_first_update_is_fatal(
    session: dict[str, object], code: str, text: str, param: str
) -> None:
    """A wrong value in the first update is told with its field and the session's id, and closes 1008."""
    caller = client()
    caller.send({"type": "session.update", "session": session})
    (error,) = caller.errors()
    assert (error["code"], error["message"], error["param"]) == (code, text, param)
    assert error["session_id"].startswith("sess_")
    assert isinstance(caller.closed, Close)
    assert caller.closed.code == 1008


MALFORMED = {
    "greeting null": {"greeting": None},
    "unknown field": {"temperature": 1},
    "voice as in REST": {"output": {"voice": {"voice_id": "alba"}}},
    "voice as a field of its own": {"voice": {"voice_id": "alba"}},
    "no object": 7,
    "nothing": None,
}


@pytest.mark.parametrize("session", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_first_update_leaves_the_socket_open(session: object) -> None:
    """A message against the schema gets `invalid_format`, without ids, and a right one can still follow."""
    caller = client()
    caller.send({"type": "session.update", "session": session})
    (error,) = caller.errors()
    assert (error["code"], error["message"]) == ("invalid_format", "Invalid message format for type 'session.update'")
    assert set(error) == {"type", "code", "message", "timestamp"}
    assert caller.closed is None
    caller.begin()
    assert caller.kinds()[-1] == "session.ready"


def test_unknown_nested_fields_are_dropped_without_a_word() -> None:
    """A typing error inside `input` is invisible but for the echo."""
    caller = client().begin(input={"turn_detektion": {"min_silence": 100}})
    assert "turn_detektion" not in caller.last("session.ready").message["config"]["input"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("{", "Invalid JSON format."),
        ("[]", "Invalid JSON format."),
        ('{"type":"foo"}', "Unknown message type: foo"),
        ('{"type":"Terminate"}', "Unknown message type: Terminate"),
        ('{"type":"input.audio"}', "Invalid message format for type 'input.audio'"),
        ('{"type":"tool.result","call_id":"c","result":{}}', "Invalid message format for type 'tool.result'"),
        ('{"type":"conversation.message","role":"assistant","content":"x"}', None),
        ('{"type":"reply.create","instructions":1}', "Invalid message format for type 'reply.create'"),
    ],
)
def test_a_bad_message_leaves_the_session_open(raw: str, text: str | None) -> None:
    """Bad JSON, an unknown type or a wrong shape gets `invalid_format`, and the session goes on."""
    caller = client().begin()
    caller.send(raw)
    (error,) = caller.errors()
    assert error["code"] == "invalid_format"
    assert text is None or error["message"] == text
    assert caller.closed is None


def test_bad_base64_is_bad_audio() -> None:
    """Audio that cannot be decoded gets `invalid_audio`."""
    caller = client().begin()
    caller.send({"type": "input.audio", "audio": "***"})
    assert (caller.errors()[0]["code"], caller.errors()[0]["message"]) == ("invalid_audio", "Invalid audio data")


@pytest.mark.parametrize("begun", [False, True], ids=["first", "before ready"])
def test_audio_before_ready_is_refused(begun: bool) -> None:
    """Audio before `session.ready` gets `invalid_format`, and is noted as the client's mistake."""
    caller = client()
    if begun:
        caller.send({"type": "session.update", "session": {}})
    caller.send({"type": "input.audio", "audio": ""})
    assert caller.errors()[0]["code"] == "invalid_format"
    rule = Violation.AUDIO_BEFORE_READY if begun else Violation.FIRST_MESSAGE
    assert caller.session.record.violations == {rule.value: 1}


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"greeting": "Hi"}, "greeting"),
        ({"output": {"voice": "vera"}}, "output.voice"),
        ({"output": {"voice": "james"}}, "output.voice"),
        ({"output": {"format": {"encoding": "audio/pcm"}}}, "output.format"),
    ],
    ids=["greeting", "voice", "voice that there is not", "format"],
)
def test_what_cannot_change_later_is_refused_and_dropped(session: dict[str, object], param: str) -> None:
    """Greeting, voice and output format are fixed; the error is not fatal and nothing is taken over."""
    caller = client().begin(system_prompt="old")
    caller.send({"type": "session.update", "session": {"system_prompt": "new"} | session})
    (error,) = caller.errors()
    assert error["code"] == "immutable_field"
    assert error["message"] == f"'{param}' cannot be changed after the first session.update"
    assert error["param"] == param
    assert error["session_id"] == caller.last("session.ready").message["session_id"]
    caller.send({"type": "session.update", "session": {}})
    assert caller.last("session.updated").message["config"]["system_prompt"] == "old"


def test_a_wrong_value_later_is_not_fatal() -> None:
    """The code that is fatal at first leaves a session under way open."""
    caller = client().begin()
    caller.send({"type": "session.update", "session": {"input": {"turn_detection": {"min_silence": 1}}}})
    caller.send({"type": "session.update", "session": {"agent_id": "agent_1"}})
    assert [error["code"] for error in caller.errors()] == ["invalid_value", "agent_id_not_first"]
    assert caller.errors()[1]["message"] == "agent_id can only be set on the first session.update"
    assert caller.closed is None


def test_what_can_change_later_is_echoed() -> None:
    """Prompt, tools, volume, turn detection, mode and key terms change, and the rest stays."""
    caller = client().begin(greeting="Hi", input={"keyterms": ["a"]}, output={"voice": "vera"})
    caller.send(
        {
            "type": "session.update",
            "session": {
                "system_prompt": "p",
                "input": {"transcription_mode": "max_accuracy", "turn_detection": {"min_silence": 1200}},
                "output": {"volume": 50},
            },
        }
    )
    config = caller.last("session.updated").message["config"]
    assert config["system_prompt"] == "p"
    assert config["greeting"] == "Hi"
    assert config["input"]["keyterms"] == ["a"]
    assert config["input"]["transcription_mode"] == "max_accuracy"
    assert config["input"]["turn_detection"] == {"min_silence": 1200}
    assert config["output"]["volume"] == 50
    assert config["output"]["voice"] == "vera"


def test_a_refused_voice_is_left_out_of_the_list() -> None:
    """With the fault, a voice that exists is refused, and the message names the others."""
    caller = client(faults=Faults(refuse_voice=True))
    caller.send({"type": "session.update", "session": {"output": {"voice": "anna"}}})
    listed = caller.errors()[0]["message"].split(": ")[1].split(", ")
    assert "anna" not in listed
    assert len(listed) == 17


def lose(caller: VirtualClient) -> tuple[str, str]:
    """Let the connection be lost; returns the session's id and its resume token."""
    ready = caller.last("session.ready").message
    caller.session.lose(caller.now_ms / 1000)
    return ready["session_id"], ready["resume_token"]


def resume(lost: VirtualClient, session_id: str, *, after_ms: float, key: str = "any-key") -> VirtualClient:
    """Resume on a new connection to the same simulator."""
    caller = VirtualClient(lost.directory, key=key, now_ms=lost.now_ms + after_ms)
    caller.send({"type": "session.resume", "session_id": session_id})
    caller.pass_time(100)
    return caller


def test_live_a_resume_is_always_refused() -> None:
    """Every reported attempt was: `session_not_found`, then 1008."""
    lost = client().begin()
    caller = resume(lost, lose(lost)[0], after_ms=1000)
    (error,) = caller.errors()
    assert error["code"] == "session_not_found"
    assert error["message"] == "Session not found or grace window has expired"
    assert isinstance(caller.closed, Close)
    assert caller.closed.code == 1008


def test_as_documented_a_resume_within_the_grace_goes_on() -> None:
    """Within 30 s the same id is ready again, with a new token and no greeting; after that it is not found."""
    lost = client(SimulatorOptions(profile=Profile.DOCS)).begin(greeting="Hi", system_prompt="p")
    session_id, token = lose(lost)
    caller = resume(lost, session_id, after_ms=29_000)
    ready = caller.last("session.ready").message
    assert ready["session_id"] == session_id
    assert ready["resume_token"] != token
    assert ready["config"]["system_prompt"] == "p"
    caller.pass_time(5000)
    assert caller.of("reply.started") == []
    again = resume(caller, lose(caller)[0], after_ms=31_000)
    assert again.errors()[0]["code"] == "session_not_found"


def test_a_resume_may_need_the_resume_token() -> None:
    """In one profile only the token of the latest `session.ready`, as the bearer, opens the door."""
    options = SimulatorOptions(resume=Resume.ACCEPT_ONLY_RESUME_TOKEN)
    lost = client(options).begin()
    session_id, token = lose(lost)
    assert resume(lost, session_id, after_ms=10).errors()[0]["code"] == "session_not_found"
    assert resume(lost, session_id, after_ms=10, key=token).last("session.ready").message["session_id"] == session_id


def test_an_ended_session_cannot_be_resumed() -> None:
    """After `session.end` the id is dead at once."""
    ended = client(SimulatorOptions(profile=Profile.DOCS)).begin()
    ended.send({"type": "session.end"})
    session_id = ended.last("session.ready").message["session_id"]
    assert resume(ended, session_id, after_ms=10).errors()[0]["code"] == "session_not_found"


def test_a_session_that_was_not_ended_counts_for_its_grace() -> None:
    """A lost session holds its place for 30 s; an ended one gives it back at once."""
    lost = client(faults=Faults(concurrency_limit=1)).begin()
    lose(lost)
    refused = VirtualClient(lost.directory, now_ms=lost.now_ms + 29_000)
    assert refused.errors()[0]["code"] == "concurrency_exceeded"
    assert getattr(refused.closed, "code", None) == 1008
    next_one = VirtualClient(lost.directory, now_ms=lost.now_ms + 30_001).begin()
    next_one.send({"type": "session.end"})
    assert VirtualClient(lost.directory, now_ms=next_one.now_ms).begin().errors() == []


def test_at_capacity_passes() -> None:
    """So many connections are refused with `at_capacity`, the next one is not."""
    first = client(faults=Faults(at_capacity_n=2))
    second = VirtualClient(first.directory)
    third = VirtualClient(first.directory).begin()
    assert [first.errors()[0]["code"], second.errors()[0]["code"]] == ["at_capacity", "at_capacity"]
    assert third.kinds()[-1] == "session.ready"


def test_as_documented_audio_faster_than_real_time_is_dropped_and_told_once_a_second() -> None:
    """In the `docs` profile the excess over 1.25 times real time is dropped, with one error a second."""
    caller = client(SimulatorOptions(profile=Profile.DOCS)).begin()
    for _ in range(80):
        caller.send({"type": "input.audio", "audio": "AAAA" * 1600})  # 100 ms
        caller.pass_time(25)
    codes = [error["code"] for error in caller.errors()]
    assert codes == ["audio_rate_violation"] * 2
    assert caller.session.record.audio_bytes / BYTES_PER_MS == pytest.approx(2500 + 500, abs=200)


def test_live_audio_faster_than_real_time_is_taken_but_noted() -> None:
    """In the `live` profile nothing is dropped, as measured; the report says that the client was too fast."""
    caller = client().begin()
    for _ in range(80):
        caller.send({"type": "input.audio", "audio": "AAAA" * 1600})
        caller.pass_time(25)
    assert caller.errors() == []
    assert caller.session.record.audio_bytes / BYTES_PER_MS == 8000
    assert Violation.AUDIO_TOO_FAST.value in caller.session.record.violations


def test_catching_up_at_1_2_times_real_time_is_allowed() -> None:
    """A client may catch up gently what it had to keep back."""
    caller = client(SimulatorOptions(profile=Profile.DOCS)).begin()
    for _ in range(600):
        caller.send({"type": "input.audio", "audio": "AAAA" * 960})  # 60 ms
        caller.pass_time(50)
    assert caller.errors() == []
