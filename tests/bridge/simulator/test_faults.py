"""What goes wrong on purpose, on the virtual clock."""

import itertools
import json

import pytest

from bridge.simulator.options import Faults, SimulatorOptions
from bridge.simulator.records import Violation
from bridge.simulator.wire import Abort, Binary, Close
from tests.conformance.virtual import VirtualClient, client


def begun(faults: Faults) -> VirtualClient:
    """A client that asked for a session and waited for 20 s."""
    caller = client(faults=faults)
    caller.send({"type": "session.update", "session": {}})
    caller.pass_time(20_000)
    return caller


def test_ready_can_be_slow_or_missing() -> None:
    """A slow one comes that much later; a missing one never."""
    slow = client(faults=Faults(slow_ready_ms=3000)).begin()
    assert slow.now_ms == pytest.approx(3045, abs=1)
    assert begun(Faults(no_ready=True)).kinds() == ["session.updated"]


def test_an_agent_can_time_out() -> None:
    """Instead of `session.ready` comes `agent_timeout`, and the socket is closed."""
    caller = begun(Faults(agent_timeout_ms=10_000))
    assert caller.errors()[0]["code"] == "agent_timeout"
    assert isinstance(caller.closed, Close)
    assert "session.ready" not in caller.kinds()


def test_a_drop_comes_when_it_was_asked_for() -> None:
    """The connection is cut so long after ready, with nothing sent before."""
    caller = client(faults=Faults(drop_after_ms=500)).begin()
    caller.pass_time(499)
    assert caller.closed is None
    caller.pass_time(2)
    assert isinstance(caller.closed, Abort)


def test_faults_can_be_for_the_first_connections_only() -> None:
    """A session that reconnects finds all well again."""
    first = client(faults=Faults(no_ready=True, sessions=1))
    second = VirtualClient(first.directory).begin()
    first.send({"type": "session.update", "session": {}})
    first.pass_time(5000)
    assert "session.ready" in second.kinds()
    assert "session.ready" not in first.kinds()


def test_faults_of_a_session_do_not_change_under_it() -> None:
    """A connection keeps the faults of the moment it opened."""
    caller = client().begin()
    caller.directory.set_faults(Faults(silent_reply=True))
    caller.send({"type": "reply.create"})
    caller.pass_until("reply.done")
    assert caller.of("transcript.agent")


def test_the_agent_can_hang_up() -> None:
    """After the answer to the n-th turn: `session.ended`, 1000."""
    caller = client(
        SimulatorOptions(endpoint_ms=400), Faults(hang_up_after_turns=2, script=("go_on", "goodbye"))
    ).begin()
    for _ in range(2):
        assert caller.closed is None
        caller.speak(800)
        caller.keep_quiet(5000)
    assert caller.kinds()[-2:] == ["reply.done", "session.ended"]
    assert isinstance(caller.closed, Close)
    assert caller.closed.code == 1000
    assert [seen.message["text"] for seen in caller.of("transcript.agent")] == [
        "[simulator] I am listening. Please go on.",
        "[simulator] That was all from the simulator. Goodbye.",
    ]


def test_the_end_can_go_unanswered() -> None:
    """`session.end` changes nothing; a second one is noted. The session still counts as ended by the client."""
    caller = client(faults=Faults(session_ended_missing=True)).begin()
    caller.send({"type": "session.end"})
    caller.pass_time(5000)
    assert caller.of("session.ended") == []
    assert caller.closed is None
    assert caller.session.record.report().ended_by_session_end
    caller.send({"type": "session.end"})
    assert caller.session.record.violations == {Violation.SECOND_END.value: 1}


def test_garbage_is_followed_by_a_normal_session() -> None:
    """Not JSON, not an object, a binary message and bad audio are sent; then all is well."""
    caller = client(faults=Faults(garbage_frames=True, typeless_error=True, unknown_event=True)).begin()
    assert any(isinstance(item, Binary) for item in caller.raw)
    with pytest.raises(json.JSONDecodeError):
        [json.loads(item) for item in caller.raw if isinstance(item, bytes)]
    assert [seen.message["code"] for seen in caller.seen if "code" in seen.message] == ["server_error"]
    assert caller.of("simulator.unknown")
    caller.send({"type": "reply.create"})
    caller.pass_until("reply.done")
    assert caller.last("reply.done").message["status"] == "completed"


def test_an_agents_transcript_can_be_late() -> None:
    """It comes after `reply.done` of the same reply."""
    caller = client(faults=Faults(late_agent_transcript=True)).begin(greeting="Hi")
    caller.pass_until("transcript.agent")
    assert caller.kinds()[-2:] == ["reply.done", "transcript.agent"]


def test_frames_can_come_in_a_burst() -> None:
    """All frames at once, and the end of the reply when it would have ended."""
    caller = client(faults=Faults(burst_frames=True)).begin(greeting="Hi")
    caller.pass_until("reply.done")
    times = [at_ms for at_ms, _ in caller.audio()]
    assert len(times) > 300
    assert max(times) == min(times)
    assert caller.now_ms - max(times) > 3000


def test_a_session_can_be_deaf() -> None:
    """The caller speaks and nothing comes of it."""
    caller = client(faults=Faults(deaf_session=True)).begin()
    caller.speak(5000)
    caller.keep_quiet(5000)
    assert caller.kinds() == ["session.updated", "session.ready"]


def test_a_stalled_simulator_does_not_hurry() -> None:
    """After being stopped for 10 s it goes on at real time instead of sending a thousand frames at once."""
    caller = client(faults=Faults(long_reply=True)).begin()
    caller.speak(1000)
    caller.keep_quiet(5000)
    before = len(caller.raw)
    caller.now_ms += 10_000
    caller.session.tick(caller.now_ms / 1000)
    caller.pass_time(100)
    assert len(caller.raw) - before == pytest.approx(11, abs=2)


def test_replies_in_a_row_differ() -> None:
    """Each answer is introduced in another way than the one before it."""
    caller = client(SimulatorOptions(endpoint_ms=300, lead_silence_ms=0)).begin()
    for _ in range(4):
        caller.speak(700)
        caller.keep_quiet(4000)
    texts = [seen.message["text"] for seen in caller.of("transcript.agent")]
    assert len(texts) == 4
    assert all(earlier != later for earlier, later in itertools.pairwise(texts))


@pytest.mark.parametrize(
    ("asked", "cure"),
    [
        ({"drop_after": 1}, "no fault is called 'drop_after'"),
        ({"drop_after_ms": "1"}, "wrong type"),
        ({"drop_after_ms": -1}, "wrong type"),
        ({"no_ready": 1}, "wrong type"),
        ({"at_capacity_n": True}, "wrong type"),
        ({"at_capacity_n": None}, "wrong type"),
        ({"script": "long"}, "wrong type"),
        ({"script": ["long", "song"]}, "no line is called 'song'"),
    ],
    ids=str,
)
def test_a_fault_that_there_is_not_is_refused(asked: dict[str, object], cure: str) -> None:
    """A misspelt or mistyped fault is an error and not a test that tests nothing."""
    with pytest.raises(ValueError, match=cure):
        Faults.parse(asked)


def test_faults_are_read_from_json() -> None:
    """Names are those of `Faults`, a script is a list, null is none."""
    asked = {"drop_after_ms": 5, "concurrency_limit": None, "no_ready": True, "script": ["long"], "sessions": 1}
    assert Faults.parse(asked) == Faults(drop_after_ms=5, no_ready=True, script=("long",), sessions=1)
