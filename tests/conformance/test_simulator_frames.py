"""The shapes of the simulator's frames, held against the published protocol and not against our own client.

There is no key here, so none of these frames was recorded; they are written from what was published of the service.
"""

import itertools
import re

import pytest

from bridge.simulator.options import LIVE_VOICES, Faults, Profile, SimulatorOptions
from tests.conformance.virtual import UNIX_S, VirtualClient, client

FIND_SLOT = {
    "type": "function",
    "name": "find_slot",
    "description": "Find a free appointment.",
    "parameters": {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
}


@pytest.fixture
def talk() -> VirtualClient:
    """A session in which the agent greeted, the caller spoke, and was answered."""
    caller = client().begin(greeting="Hello, how can I help?", output={"voice": "vera"})
    caller.keep_quiet(6000)
    caller.speak(2000)
    caller.keep_quiet(8000)
    return caller


def test_nothing_is_said_before_the_client_speaks() -> None:
    """The server sends nothing before the client's first message, however long that takes."""
    caller = client()
    caller.pass_time(60_000)
    assert caller.raw == []


def test_the_echo_has_every_field_and_null_for_what_was_not_set() -> None:
    """`session.updated` and `session.ready` carry the whole resolved configuration."""
    caller = client().begin(
        system_prompt="Be brief.",
        greeting="Hello, how can I help?",
        input={"format": {"encoding": "audio/pcm"}, "keyterms": ["Okonkwo"], "transcription_mode": "balanced"},
        output={"voice": "alba", "format": {"encoding": "audio/pcm"}},
    )
    config = caller.last("session.ready").message["config"]
    session_id = caller.last("session.ready").message["session_id"]
    assert re.fullmatch(r"sess_[0-9a-f]{32}", session_id)
    assert config == {
        "id": session_id,
        "system_prompt": "Be brief.",
        "greeting": "Hello, how can I help?",
        "input": {
            "type": "audio",
            "format": {"encoding": "audio/pcm", "sample_rate": 24000},
            "turn_detection": None,
            "keyterms": ["Okonkwo"],
            "transcription_mode": "balanced",
            "continuous_partials": None,
            "transcription_prompt": None,
            "language_codes": None,
            "voice_focus": None,
            "voice_focus_threshold": None,
        },
        "output": {
            "type": "audio",
            "voice": "alba",
            "format": {"encoding": "audio/pcm", "sample_rate": 24000},
            "volume": None,
        },
        "tools": [],
        "llm": [],
        "pre_connect_requests": [],
    }
    assert caller.last("session.updated").message["config"] == config


def test_ready_names_its_expiry_and_a_token_to_resume_with() -> None:
    """`session.ready` has exactly its published fields; it expires in about an hour whatever was asked."""
    ready = client().begin().last("session.ready")
    assert set(ready.message) == {"type", "session_id", "config", "expires_at", "resume_token", "timestamp"}
    assert ready.message["expires_at"] == pytest.approx(UNIX_S + 3595, abs=2)
    assert isinstance(ready.message["expires_at"], int)
    assert ready.message["resume_token"]


def test_the_documents_announce_only_ready() -> None:
    """In the `docs` profile the first update is answered by `session.ready` alone, later ones by `session.updated`."""
    caller = client(SimulatorOptions(profile=Profile.DOCS)).begin()
    assert caller.kinds() == ["session.ready"]
    caller.send({"type": "session.update", "session": {"system_prompt": "x"}})
    assert caller.kinds() == ["session.ready", "session.updated"]


def test_a_tool_is_echoed_with_its_defaults() -> None:
    """Each tool's echo gains the seven fields that were not sent."""
    (tool,) = client().begin(tools=[FIND_SLOT]).last("session.ready").message["config"]["tools"]
    assert tool == FIND_SLOT | {
        "timeout_seconds": 120,
        "execution_mode": "interactive",
        "http": None,
        "response_instructions": None,
        "deployment_id": None,
        "session_update": None,
        "image_tag": None,
    }


SHAPES = {
    "session.updated": {"config"},
    "session.ready": {"session_id", "config", "expires_at", "resume_token"},
    "input.speech.started": set(),
    "transcript.user.delta": {"item_id", "text"},
    "input.speech.stopped": set(),
    "transcript.user": {"item_id", "text"},
    "reply.started": {"reply_id", "item_id"},
    "reply.audio": {"reply_id", "data"},
    "transcript.agent.delta": {"reply_id", "item_id", "delta", "start_ms", "end_ms"},
    "transcript.agent": {"reply_id", "item_id", "text", "interrupted"},
    "reply.done": {"reply_id", "status"},
    "session.ended": {"session_duration_seconds", "audio_duration_seconds"},
}


def test_every_event_of_a_talk_has_its_published_fields(talk: VirtualClient) -> None:
    """No event of a talk lacks a field or has one more; each carries epoch seconds as a float."""
    talk.send({"type": "session.end"})
    assert {seen.kind for seen in talk.seen} == set(SHAPES)
    for seen in talk.seen:
        assert set(seen.message) - {"type", "timestamp"} == SHAPES[seen.kind]
        assert isinstance(seen.message["timestamp"], float)
        assert seen.message["timestamp"] == pytest.approx(UNIX_S + seen.at_ms / 1000, abs=0.01)


def test_the_order_of_a_talk_is_the_published_one(talk: VirtualClient) -> None:
    """Greeting, caller's turn, answer: each event in its place."""
    kinds = [kind for kind in talk.kinds() if kind != "transcript.user.delta"]
    reply = ["reply.started", "reply.audio", "transcript.agent.delta", "reply.audio", "transcript.agent", "reply.done"]
    turn = ["input.speech.started", "input.speech.stopped", "transcript.user"]
    assert kinds == ["session.updated", "session.ready", *reply, *turn, *reply]


def test_audio_is_10_ms_of_pcm(talk: VirtualClient) -> None:
    """Each `reply.audio` holds base64 of exactly 480 bytes, and belongs to a reply that was announced."""
    assert {len(pcm) for _, pcm in talk.audio()} == {480}
    announced = {seen.message["reply_id"] for seen in talk.of("reply.started")}
    assert {seen.message["reply_id"] for seen in talk.of("reply.audio")} == announced
    assert all(re.fullmatch(r"resp_[0-9a-f]{32}", reply_id) for reply_id in announced)
    assert all(re.fullmatch(r"msg_[0-9a-f]{32}", seen.message["item_id"]) for seen in talk.of("reply.started"))


def test_partial_transcripts_of_the_caller_grow(talk: VirtualClient) -> None:
    """A delta of the caller's replaces the one before it, and comes every 300 to 500 ms or so."""
    deltas = talk.of("transcript.user.delta")
    lengths = [float(seen.message["text"].split()[1]) for seen in deltas]
    assert lengths == sorted(set(lengths))
    assert {seen.message["item_id"] for seen in deltas} == {talk.last("transcript.user").message["item_id"]}
    gaps = [later.at_ms - earlier.at_ms for earlier, later in itertools.pairwise(deltas)]
    assert all(300 <= gap <= 500 for gap in gaps)


def test_words_of_the_agent_add_up(talk: VirtualClient) -> None:
    """The agent's deltas, appended, are its transcript; a greeting's words have no trailing space, others do."""
    greeting, answer = talk.of("transcript.agent")
    for final, joiner in ((greeting, " "), (answer, "")):
        deltas = [
            seen.message
            for seen in talk.of("transcript.agent.delta")
            if seen.message["reply_id"] == final.message["reply_id"]
        ]
        assert joiner.join(delta["delta"] for delta in deltas).strip() == final.message["text"]
        assert all(0 <= delta["start_ms"] <= delta["end_ms"] for delta in deltas)


def test_every_transcript_says_that_it_is_a_simulator(talk: VirtualClient) -> None:
    """Nobody can take these words for a recogniser's or a model's."""
    spoken = [seen.message["text"] for seen in talk.seen if "text" in seen.message]
    assert spoken
    assert all(text.startswith("[simulator] ") for text in spoken)


def test_the_end_is_told_and_then_closed(talk: VirtualClient) -> None:
    """`session.end` gets `session.ended` as the last event, with a null audio duration, and close code 1000."""
    talk.send({"type": "session.end"})
    ended = talk.seen[-1]
    assert ended.kind == "session.ended"
    assert ended.message["session_duration_seconds"] == pytest.approx(talk.now_ms / 1000, abs=0.01)
    assert ended.message["audio_duration_seconds"] is None
    assert getattr(talk.closed, "code", None) == 1000


def test_end_before_ready_is_an_end() -> None:
    """`session.end` is allowed any time after opening."""
    caller = client()
    caller.send({"type": "session.end"})
    assert caller.kinds() == ["session.ended"]
    assert getattr(caller.closed, "code", None) == 1000


def test_the_default_voices_are_the_live_list() -> None:
    """Eighteen voices, and none of those of the spring."""
    assert len(LIVE_VOICES) == 18
    assert not set(LIVE_VOICES) & {"james", "sophie", "diego", "arjun", "claire", "ivy"}


def test_an_empty_reply_has_no_transcript() -> None:
    """With nothing to say: 2.4 s of silent frames, no text, and it completes."""
    caller = client(faults=Faults(silent_reply=True)).begin()
    caller.send({"type": "reply.create"})
    caller.pass_until("reply.done")
    assert caller.kinds()[2:] == ["reply.started", "reply.audio", "reply.done"]
    assert len(list(caller.audio())) == 240
    assert caller.last("reply.done").message["status"] == "completed"
