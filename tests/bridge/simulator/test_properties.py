"""What holds for any client, however badly it behaves."""

import json
from itertools import pairwise

import pybase64
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulator.options import Faults, Profile, SimulatorOptions
from bridge.simulator.session import Phase
from tests.conformance.virtual import BYTES_PER_MS, VirtualClient, client, silence, voice

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(
    [
        "session.update",
        "session.resume",
        "session.end",
        "input.audio",
        "reply.create",
        "reply.cancel",
        "conversation.message",
        "tool.result",
        "Terminate",
    ]
)
FIELDS = st.sampled_from(
    ["session", "session_id", "audio", "instructions", "reply_id", "role", "content", "call_id", "result", "is_error"]
)
SESSION_FIELDS = st.sampled_from(
    ["agent_id", "system_prompt", "greeting", "tools", "input", "output", "llm", "webhook", "pre_connect_requests"]
)
INPUT_FIELDS = st.sampled_from(["format", "turn_detection", "keyterms", "transcription_mode", "voice_focus"])
SESSIONS = st.dictionaries(SESSION_FIELDS, JSON | st.dictionaries(INPUT_FIELDS, JSON, max_size=3), max_size=4)
MESSAGES = st.one_of(
    st.builds(lambda kind, facts: {"type": kind, **facts}, KINDS, st.dictionaries(FIELDS, JSON, max_size=3)),
    st.builds(lambda session: {"type": "session.update", "session": session}, SESSIONS),
    st.just({"type": "session.update", "session": {"greeting": "Hi"}}),
    st.just({"type": "reply.create"}),
    JSON,
    st.text(max_size=40).map(lambda text: text),
    st.binary(max_size=40),
)
STEPS = st.one_of(
    MESSAGES.map(lambda message: ("send", message)),
    st.integers(0, 3000).map(lambda ms: ("wait", ms)),
    st.integers(0, 1500).map(lambda ms: ("speak", ms)),
    st.integers(0, 1500).map(lambda ms: ("quiet", ms)),
)
OPTIONS = st.builds(
    SimulatorOptions,
    profile=st.sampled_from(Profile),
    onset_ms=st.sampled_from([10, 200, 600]),
    barge_in_ms=st.sampled_from([100, 1100]),
    endpoint_ms=st.sampled_from([None, 100, 1300]),
    lead_silence_ms=st.sampled_from([None, 0, 100]),
)
FAULTS = st.builds(
    Faults,
    silent_reply=st.booleans(),
    burst_frames=st.booleans(),
    unknown_event=st.booleans(),
    late_agent_transcript=st.booleans(),
    session_ended_missing=st.booleans(),
    hang_up_after_turns=st.sampled_from([None, 1]),
    drop_after_ms=st.sampled_from([None, 0, 4000]),
    script=st.sampled_from([(), ("goodbye", "here")]),
)


def act(caller: VirtualClient, step: tuple[str, object]) -> None:
    """Take one step of a client's life."""
    match step:
        case "send", message:
            caller.send(message)
        case "wait", int(ms):
            caller.pass_time(ms)
        case "speak", int(ms):
            caller.speak(ms)
        case "quiet", int(ms):
            caller.keep_quiet(ms)


@settings(max_examples=150, deadline=None)
@given(options=OPTIONS, faults=FAULTS, begun=st.booleans(), steps=st.lists(STEPS, max_size=12))
def test_no_client_breaks_the_protocol(
    options: SimulatorOptions, faults: Faults, begun: bool, steps: list[tuple[str, object]]
) -> None:
    """Whatever is sent when, nothing raises, each reply ends at most once, none overlaps, nothing follows the end."""
    caller = client(options, faults)
    if begun:
        caller.send({"type": "session.update", "session": {"greeting": "Hi"}})
    for step in steps:
        act(caller, step)
    open_reply: object = None
    for seen in caller.seen:
        reply_id = seen.message.get("reply_id")
        if seen.kind == "reply.started":
            assert open_reply is None
            open_reply = reply_id
        elif seen.kind == "reply.audio":
            assert reply_id == open_reply
        elif seen.kind == "reply.done":
            assert reply_id == open_reply
            open_reply = None
    assert all(earlier.at_ms <= later.at_ms for earlier, later in pairwise(caller.seen))
    if caller.closed is not None:
        assert caller.raw[-1] is caller.closed
        assert caller.session.phase is Phase.ENDED
    starts = [seen.kind for seen in caller.seen if seen.kind in ("input.speech.started", "input.speech.stopped")]
    assert all(earlier != later for earlier, later in pairwise(starts))
    assert len(starts) < 1 or starts[0] == "input.speech.started"


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(1, BYTES_PER_MS * 2500 - 1), max_size=30), gap_ms=st.sampled_from([100, 500, 900]))
def test_audio_cut_anywhere_is_the_same_speech(cuts: list[int], gap_ms: int) -> None:
    """The same samples make the same turns and come back the same, also when cut in the middle of a sample."""
    pcm = silence(200) + voice(900) + silence(gap_ms) + voice(400) + silence(1500)
    assert answered(pcm, cuts) == answered(pcm, [])


def answered(pcm: bytes, cuts: list[int]) -> tuple[list[object], bytes]:
    """The caller's final transcripts and everything the agent says, for audio that comes in these pieces."""
    # All audio comes at one moment: what is compared is the samples, not how the clock runs between pieces.
    caller = client(SimulatorOptions(endpoint_ms=800)).begin()
    edges = [0, *sorted(cuts), len(pcm)]
    for start, end in pairwise(edges):
        caller.session.receive(_audio(pcm[start:end]), caller.now_ms / 1000)
    caller.pass_time(20_000)
    return [seen.message["text"] for seen in caller.of("transcript.user")], b"".join(part for _, part in caller.audio())


def _audio(pcm: bytes) -> str:

    return json.dumps({"type": "input.audio", "audio": pybase64.b64encode(pcm).decode()})
