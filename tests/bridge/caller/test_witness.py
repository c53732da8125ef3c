"""Who was in the room and who was audible, from notes with given times."""

import pytest

from bridge.caller.report import Findings, Made, Turn, measure
from bridge.caller.witness import AgentStay, Witness


def speak(witness: Witness, stay: AgentStay, since: float, until: float) -> None:
    """Twenty-millisecond audible frames from `since` to `until`."""
    for index in range(1, round((until - since) / 0.02) + 1):
        witness.frame(stay, at=since + index * 0.02, audible=True)


def test_an_agent_replaced_under_its_identity_is_two_stays_and_one_agent() -> None:
    """A hand-over that the server sees as leave and join never shows two agents."""
    witness = Witness()
    first = witness.seen(identity="voice-agent", sid="PA_1", at=1.0)
    speak(witness, first, 1.0, 2.0)
    witness.left(sid="PA_1", at=2.0)
    second = witness.seen(identity="voice-agent", sid="PA_2", at=2.0)
    speak(witness, second, 2.2, 3.0)

    assert (witness.agents_max, witness.audible_max, len(witness.stays)) == (1, 1, 2)
    assert witness.longest_gap(1.0, 3.0) == pytest.approx(0.2)
    assert witness.overlap_s() == 0


def test_two_agents_that_speak_at_once_are_both_counted() -> None:
    """Present and audible are counted apart: a silent second agent is present only."""
    witness = Witness()
    first = witness.seen(identity="one", sid="PA_1", at=1.0)
    second = witness.seen(identity="two", sid="PA_2", at=1.1)
    speak(witness, first, 1.1, 1.5)
    assert (witness.agents_max, witness.audible_max) == (2, 1)

    for index in range(1, 11):
        witness.frame(first, at=1.5 + index * 0.02, audible=True)
        witness.frame(second, at=1.5 + index * 0.02 + 0.005, audible=True)

    assert witness.audible_max == 2
    assert witness.overlap_s() == pytest.approx(0.195)


def test_presence_is_told_over_time() -> None:
    """Every change has its moment; leaving twice or seeing twice changes nothing."""
    witness = Witness()
    witness.seen(identity="one", sid="PA_1", at=1.0)
    witness.seen(identity="one", sid="PA_1", at=1.5)
    witness.left(sid="PA_1", at=2.0)
    witness.left(sid="PA_1", at=2.5)

    assert list(witness.presence) == [(1.0, 1), (2.0, 0)]


def test_silence_is_known_only_up_to_the_last_frame() -> None:
    """While a track plays, a late frame may still bring sound; without a track there is nothing to come."""
    witness = Witness()
    stay = witness.seen(identity="one", sid="PA_1", at=1.0)
    witness.subscribed(stay, at=1.0)
    speak(witness, stay, 1.0, 2.0)

    assert witness.known_until(2.5) == pytest.approx(2.0)
    assert witness.known_until(9.0) == pytest.approx(8.0)

    witness.left(sid="PA_1", at=2.5)

    assert witness.known_until(2.5) == pytest.approx(2.5)


def test_a_report_counts_from_the_start_of_connect_and_from_its_return() -> None:
    """The numbers of one call, with what did not happen as None."""
    witness = Witness()
    stay = witness.seen(identity="voice-agent", sid="PA_1", at=10.3)
    witness.subscribed(stay, at=10.35)
    witness.state(stay, state="listening", at=10.4)
    speak(witness, stay, 10.48, 11.0)
    findings = Findings(turns=[Turn(said_ms=1500)])

    report = measure(witness, findings, Made("demo", "caller-1", began_at=10.0, connected_at=10.1, left_at=14.0))

    assert (report.connect_ms, report.agent_seen_ms, report.agent_subscribed_ms) == (100, 300, 350)
    assert (report.agent_heard_ms, report.agent_heard_after_connect_ms) == (500, 400)
    assert report.turns[0].reply_delay_ms is None
    assert report.gaps == ((1000, 4000),)
    assert report.agents[0].states == ((400, "listening"),)
    assert report.ok


def test_a_report_of_two_agents_is_a_failure() -> None:
    """Two agents are a problem even if everything the script asked for happened."""
    witness = Witness()
    for sid in ("PA_1", "PA_2"):
        speak(witness, witness.seen(identity=sid, sid=sid, at=1.0), 1.0, 1.2)

    report = measure(witness, Findings(), Made("r", "c", began_at=0.0, connected_at=0.1, left_at=2.0))

    assert not report.ok
    assert report.problems == ("2 agents were audible at once, for 200 ms",)


def test_time_with_two_agents_is_told_up_to_a_moment() -> None:
    """Only stretches with more than one count, and one that still lasts counts up to the question."""
    witness = Witness()
    witness.seen(identity="one", sid="PA_1", at=1.0)
    witness.seen(identity="two", sid="PA_2", at=2.0)
    assert witness.together_s(until=2.25) == pytest.approx(0.25)
    witness.left(sid="PA_1", at=2.5)
    witness.seen(identity="one", sid="PA_3", at=3.0)

    assert witness.together_s(until=3.5) == pytest.approx(1.0)
    assert witness.together_s(until=1.5) == 0


def test_the_frames_of_a_stay_have_a_first_and_a_last_also_when_they_are_silent() -> None:
    """What a hand-over is measured by: the last frame of one agent, the first of the next; and whose grant it was."""
    witness = Witness()
    stay = witness.seen(identity="voice-agent", sid="PA_1", at=1.0, fence=7)
    assert (stay.frames_from_at, stay.frames_until_at, stay.fence) == (None, None, 7)
    for at in (1.1, 1.2, 1.3):
        witness.frame(stay, at=at, audible=False)

    assert (stay.frames_from_at, stay.frames_until_at, stay.heard_at) == (1.1, 1.3, None)


def test_what_is_known_of_the_agent_tells_how_far_its_voice_came() -> None:
    """For whoever asks why nothing was heard: not seen, no track, no frame, no sound, or silent since."""
    witness = Witness()
    assert witness.known(9.0) == "no agent was seen"
    stay = witness.seen(identity="one", sid="PA_1", at=1.0)
    assert witness.known(9.0) == "an agent came 8.0 s ago, and its track never did"
    witness.subscribed(stay, at=1.5)
    assert witness.known(9.0) == "an agent came 8.0 s ago, and no frame of its track"
    witness.frame(stay, at=2.0, audible=False)
    assert witness.known(9.0) == "an agent came 8.0 s ago, its last frame 7.0 s ago, none audible"
    witness.frame(stay, at=3.0, audible=True)
    witness.left(sid="PA_1", at=4.0)
    assert witness.known(9.0) == (
        "an agent came 8.0 s ago and left 5.0 s ago, its last frame 6.0 s ago, audible 6.0 s ago"
    )
