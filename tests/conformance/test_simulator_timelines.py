"""The published golden timelines, on a virtual clock, so that they are exact and take no time.

Times were measured on the live service with a jitter of about 20 %, which is the tolerance here as well.
"""

import itertools

import pytest

from bridge.simulator.options import Faults, SimulatorOptions
from tests.conformance.virtual import VirtualClient, client, is_audible

CHUNK_MS = 50
"""The caller's audio comes in chunks of 50 ms, so what it causes is up to that much late."""


def about(low_ms: float, high_ms: float | None = None) -> "Range":
    """A published time or range, with 20 % of jitter."""
    return Range(low_ms * 0.8, (high_ms or low_ms) * 1.2)


class Range:
    """A stretch of time that a measured one must lie in."""

    def __init__(self, low_ms: float, high_ms: float) -> None:
        self.low_ms = low_ms
        self.high_ms = high_ms

    def __eq__(self, measured_ms: object) -> bool:
        return isinstance(measured_ms, float | int) and self.low_ms <= measured_ms <= self.high_ms

    def __hash__(self) -> int:
        return hash((self.low_ms, self.high_ms))

    def __repr__(self) -> str:
        return f"{self.low_ms:.0f}..{self.high_ms:.0f} ms"


def audible_at(caller: VirtualClient, *, after_ms: float = 0) -> float:
    """When the agent was first heard after a moment."""
    return next(at_ms for at_ms, pcm in caller.audio() if at_ms >= after_ms and is_audible(pcm))


def test_start() -> None:
    """Updated within 30 to 500 ms, ready 15 later, greeting 30 to 220 after that, 250 silent, words at 365."""
    caller = client()
    caller.send({"type": "session.update", "session": {"greeting": "Hello."}})
    caller.pass_until("reply.done")
    updated, ready, started = (
        caller.of(kind)[0].at_ms for kind in ("session.updated", "session.ready", "reply.started")
    )
    assert updated == about(30, 500)
    assert ready - updated == about(15)
    assert started - ready == about(30, 220)
    first_frame = next(caller.audio())[0]
    assert first_frame - started < 10
    assert audible_at(caller) - first_frame == about(250)
    words = [seen.at_ms for seen in caller.of("transcript.agent.delta")]
    assert words[0] - first_frame == about(365)
    assert words[-1] - words[0] <= 4
    last_frame = list(caller.audio())[-1][0]
    assert last_frame <= caller.last("transcript.agent").at_ms
    assert caller.last("reply.done").at_ms - caller.last("transcript.agent").at_ms == about(10, 315)


@pytest.mark.parametrize(
    ("mode", "endpoint_ms"), [("min_latency", 1300), ("balanced", 1950), (None, 1950), ("max_accuracy", 3200)]
)
def test_plain_turn(mode: str | None, endpoint_ms: int) -> None:
    """The turn is announced 600 ms after its onset and ends by the mode's silence; the answer follows at once."""
    caller = client().begin(input={"transcription_mode": mode} if mode else {})
    caller.keep_quiet(1000)
    onset_ms = caller.now_ms
    caller.speak(2000)
    last_voiced_ms = caller.now_ms
    caller.keep_quiet(6000)
    started, stopped = caller.last("input.speech.started").at_ms, caller.last("input.speech.stopped").at_ms
    assert started - onset_ms == about(600)
    assert stopped - last_voiced_ms == about(endpoint_ms)
    assert 0 <= caller.last("transcript.user").at_ms - stopped <= 2.4
    reply = caller.last("reply.started").at_ms
    assert reply - stopped <= 4
    first_frame = next(caller.audio())[0]
    assert first_frame - reply <= 8
    assert audible_at(caller) - first_frame == about(800, 1300)


def test_min_silence_ends_a_turn() -> None:
    """A session's own `min_silence` takes the place of the mode's time."""
    caller = client().begin(input={"turn_detection": {"min_silence": 400}})
    caller.speak(1000)
    last_voiced_ms = caller.now_ms
    caller.keep_quiet(1000)
    assert 400 <= caller.last("input.speech.stopped").at_ms - last_voiced_ms <= 400 + CHUNK_MS


def talking(caller: VirtualClient, *, for_ms: int = 3000) -> None:
    """Bring the agent to speak a long line, and let it for a while."""
    caller.speak(1000)
    caller.keep_quiet(1950 + 1050 + for_ms)
    assert caller.of("reply.done") == []


def test_barge_in() -> None:
    """1100 to 2200 ms after the onset: announcement, trimmed transcript and end at once, and no frame after it."""
    caller = client(faults=Faults(long_reply=True)).begin()
    talking(caller)
    onset_ms = caller.now_ms
    caller.speak(2000)
    caller.keep_quiet(8000)
    reply_id = caller.of("reply.started")[0].message["reply_id"]
    trio = [
        caller.of("input.speech.started")[1],
        next(seen for seen in caller.of("transcript.agent") if seen.message["interrupted"]),
        caller.of("reply.done")[0],
    ]
    assert trio[0].at_ms - onset_ms == about(1100, 2200)
    assert max(seen.at_ms for seen in trio) - min(seen.at_ms for seen in trio) <= 2
    assert trio[2].message["status"] == "interrupted"
    frames = [seen.at_ms for seen in caller.of("reply.audio") if seen.message["reply_id"] == reply_id]
    assert max(frames) <= trio[2].at_ms
    assert len(caller.of("transcript.user")) == 2, "then it is a normal turn"


def test_an_interrupted_transcript_is_cut_where_the_agent_was() -> None:
    """The text is a beginning of the whole line, roughly as long as what was sent of its audio."""
    caller = client(faults=Faults(long_reply=True)).begin()
    talking(caller)
    caller.speak(1200)
    cut = caller.last("transcript.agent").message["text"]
    whole = "".join(seen.message["delta"] for seen in caller.of("transcript.agent.delta")).strip()
    assert whole.startswith(cut)
    assert len(cut) / len(whole) == about(4200 / 14_980)


def test_a_word_of_agreement_does_not_interrupt() -> None:
    """A back-channel of 400 ms lets the agent speak to its end."""
    caller = client(faults=Faults(long_reply=True)).begin()
    talking(caller)
    caller.speak(400)
    caller.keep_quiet(14_000)
    assert [seen.message["status"] for seen in caller.of("reply.done")] == ["completed"]
    assert len(caller.of("input.speech.started")) == 1


def test_barge_in_can_be_switched_off() -> None:
    """With `interrupt_response` false the agent goes on; the caller's turn begins when it has ended."""
    caller = client(faults=Faults(long_reply=True)).begin(
        input={"turn_detection": {"interrupt_response": False, "min_silence": 1950}}
    )
    talking(caller, for_ms=12_000)
    caller.speak(4000)
    assert [seen.message["status"] for seen in caller.of("reply.done")] == ["completed"]
    assert len(caller.of("input.speech.started")) == 2
    assert caller.last("input.speech.started").at_ms >= caller.last("reply.done").at_ms


def test_a_guarded_greeting_is_not_interrupted() -> None:
    """What the caller says during a protected greeting is discarded, not queued."""
    caller = client().begin(greeting="Hello.", input={"turn_detection": {"uninterruptible_turns": ["greeting"]}})
    caller.speak(3500)
    caller.keep_quiet(4000)
    assert [seen.message["status"] for seen in caller.of("reply.done")] == ["completed"]
    assert caller.of("input.speech.started") == []


def test_premature_end_of_turn() -> None:
    """The caller goes on before the agent was heard: no interruption, unspoken text, one turn, one real answer."""
    caller = client().begin(input={"turn_detection": {"min_silence": 800}})
    caller.speak(1500)
    caller.keep_quiet(1000)
    caller.speak(2500)
    caller.keep_quiet(8000)
    unspoken, real = caller.of("transcript.agent")
    assert unspoken.message["interrupted"] is False
    assert [seen.message["status"] for seen in caller.of("reply.done")] == ["completed", "completed"]
    first, second = caller.of("transcript.user")
    assert first.message["item_id"] == second.message["item_id"]
    assert float(second.message["text"].split()[1]) == pytest.approx(5.0, abs=0.1)
    silent_id = unspoken.message["reply_id"]
    silent = [
        pcm
        for seen, (_, pcm) in zip(caller.of("reply.audio"), caller.audio(), strict=True)
        if seen.message["reply_id"] == silent_id
    ]
    assert silent
    assert not any(map(is_audible, silent))
    assert audible_at(caller) > real.at_ms - 6000


def test_reply_create_when_nobody_speaks() -> None:
    """A reply starts 5 to 50 ms later, its first frame 30 to 190, and it is heard after 1000 to 1200."""
    caller = client().begin()
    asked_ms = caller.now_ms
    caller.send({"type": "reply.create", "instructions": "Say that you are there."})
    caller.pass_until("reply.done")
    assert caller.last("reply.started").at_ms - asked_ms == about(5, 50)
    assert next(caller.audio())[0] - asked_ms == about(30, 190)
    assert audible_at(caller) - asked_ms == about(1000, 1200)


def test_reply_create_replaces_the_greeting() -> None:
    """During the greeting it is cut, and the new reply starts."""
    caller = client().begin(greeting="Hello.")
    caller.pass_time(1500)
    caller.send({"type": "reply.create"})
    caller.pass_time(6000)
    assert [seen.message["status"] for seen in caller.of("reply.done")] == ["interrupted", "completed"]


def test_reply_create_during_another_reply_is_lost() -> None:
    """At most one reply is open at a time."""
    caller = client(faults=Faults(long_reply=True)).begin()
    talking(caller)
    caller.send({"type": "reply.create"})
    caller.keep_quiet(14_000)
    assert len(caller.of("reply.started")) == 1


def test_an_update_of_the_prompt_does_not_make_the_agent_speak() -> None:
    """`session.update` is echoed and no more."""
    caller = client().begin()
    caller.send({"type": "session.update", "session": {"system_prompt": "Say hello."}})
    caller.keep_quiet(5000)
    assert caller.of("reply.started") == []


def test_end() -> None:
    """`session.ended` comes within 50 ms."""
    caller = client().begin(greeting="Hello.")
    caller.pass_time(2000)
    asked_ms = caller.now_ms
    caller.send({"type": "session.end"})
    caller.pass_time(50)
    assert caller.last("session.ended").at_ms - asked_ms <= 50


def test_frames_come_at_real_time() -> None:
    """Neither faster nor slower: n frames take n times 10 ms, to the frame."""
    caller = client(faults=Faults(long_reply=True)).begin()
    talking(caller)
    caller.pass_until("reply.done")
    times = [at_ms for at_ms, _ in caller.audio()]
    assert all(later - earlier == pytest.approx(10, abs=0.01) for earlier, later in itertools.pairwise(times))
    assert len(times) * 10 == pytest.approx(1000 + 14_980, abs=20)


def test_the_times_of_the_voice_are_options() -> None:
    """Tests and demos may have a quicker conversation partner."""
    options = SimulatorOptions(onset_ms=200, endpoint_ms=300, barge_in_ms=300, lead_silence_ms=0)
    caller = client(options, Faults(long_reply=True)).begin()
    caller.speak(500)
    caller.keep_quiet(350)
    heard_ms = audible_at(caller)
    assert heard_ms - caller.last("input.speech.stopped").at_ms < 20
    onset_ms = caller.now_ms
    caller.speak(500)
    assert caller.last("reply.done").message["status"] == "interrupted"
    assert 300 <= caller.last("reply.done").at_ms - onset_ms <= 300 + CHUNK_MS
