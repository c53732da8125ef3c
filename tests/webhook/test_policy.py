"""`webhook.policy`: which events change what the pool knows, and why the others do not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.contract import MAX_ROOM_NAME_BYTES, Arrived, Finished, Left, Opened, RoomRules
from tests.webhook.deliveries import body_of, message
from webhook.events import Participant, parse_event
from webhook.policy import Ignore, IgnoreReason, decide, why_no_caller

RULES = RoomRules(globs=("demo", "support-*"), agent_identity="voice-agent")
OURS = {"identity": "voice-agent", "kind": "AGENT"}


def decided(event: str, *, room: Any = None, participant: Any = None) -> object:
    return decide(parse_event(body_of(message(event, room=room, participant=participant))), RULES)


def test_a_callers_join_is_an_arrival() -> None:
    """With the sids and times that room state orders by."""
    assert decided("participant_joined") == Arrived("demo", "RM_room1", 1763999990123, "PA_caller1", 1763999999456)


@pytest.mark.parametrize("kind", ["SIP", "CONNECTOR", "STANDARD"])
def test_people_come_by_several_ways(kind: str) -> None:
    """A telephone is a caller, too."""
    assert isinstance(decided("participant_joined", participant={"kind": kind}), Arrived)


@pytest.mark.parametrize(
    ("participant", "reason"),
    [
        ({"kind": "AGENT"}, IgnoreReason.KIND),
        ({"kind": "EGRESS"}, IgnoreReason.KIND),
        ({"kind": "INGRESS"}, IgnoreReason.KIND),
        ({"kind": "BRIDGE"}, IgnoreReason.KIND),
        ({"kind": "HOLOGRAM"}, IgnoreReason.KIND),
        ({"kind": 99}, IgnoreReason.KIND),
        ({"permission": {}}, IgnoreReason.MAY_NOT_PUBLISH),
        ({"permission": {"canPublish": True, "hidden": True}}, IgnoreReason.HIDDEN),
        ({"permission": {"canPublish": True, "recorder": True}}, IgnoreReason.RECORDER),
        ({"permission": {"canPublish": True, "agent": True}}, IgnoreReason.AGENT),
        ({"kind": "AGENT", "permission": {"hidden": True}}, IgnoreReason.KIND),
    ],
    ids=str,
)
def test_a_machine_is_no_caller(participant: dict[str, object], reason: IgnoreReason) -> None:
    """By its kind or by its permissions, and it is said by which; a kind we do not know is none of ours."""
    assert decided("participant_joined", participant=participant) == Ignore(reason)


@given(
    st.builds(
        Participant,
        sid=st.just("PA_1"),
        identity=st.sampled_from(["ann", "voice-agent"]),
        kind=st.sampled_from(["", "STANDARD", "SIP", "AGENT", "UNKNOWN_9"]),
        joined_unix_ms=st.just(0),
        can_publish=st.booleans(),
        hidden=st.booleans(),
        recorder=st.booleans(),
        agent=st.booleans(),
        disconnect_reason=st.just(""),
    )
)
def test_whoever_is_no_caller_is_so_for_a_reason(someone: Participant) -> None:
    """The rule and its explanation cannot drift apart: a reason of its own for everybody but ourselves."""
    reason = why_no_caller(someone)
    is_ours = someone.identity == RULES.agent_identity
    assert RULES.is_caller(someone) == (reason is IgnoreReason.NOT_A_CALLER and not is_ours)


@pytest.mark.parametrize("event", ["participant_joined", "participant_left", "participant_connection_aborted"])
@pytest.mark.parametrize("participant", [OURS, {"identity": "voice-agent"}], ids=["agent", "somebody with its name"])
def test_our_own_agent_changes_nothing(event: str, participant: dict[str, object]) -> None:
    """Its worker knows better, and the pool must not set itself off."""
    assert decided(event, participant=participant) == Ignore(IgnoreReason.OWN_AGENT)


@pytest.mark.parametrize("event", ["participant_left", "participant_connection_aborted"])
@pytest.mark.parametrize("participant", [{}, {"kind": "EGRESS"}, {"disconnectReason": "DUPLICATE_IDENTITY"}], ids=str)
def test_everybody_elses_leaving_is_noted(event: str, participant: dict[str, object]) -> None:
    """Whoever it was and for whatever reason; the sid tells which stay ended."""
    assert decided(event, participant=participant) == Left("demo", "RM_room1", "PA_caller1")


def test_the_end_of_a_room_is_noted() -> None:
    """By its sid."""
    assert decided("room_finished") == Finished("demo", "RM_room1")


def test_an_opened_room_is_news_to_whoever_prepares() -> None:
    """An agent is sent for at once; else it comes with its caller."""
    event = parse_event(body_of(message("room_started")))
    assert decide(event, RULES, prepares=True) == Opened("demo", "RM_room1", 1763999990123)
    assert decide(event, RULES) == Ignore(IgnoreReason.EVENT_DECIDES_NOTHING)
    unwanted = parse_event(body_of(message("room_started", room={"name": "other"})))
    assert decide(unwanted, RULES, prepares=True) == Ignore(IgnoreReason.ROOM_NOT_WANTED)


@pytest.mark.parametrize("event", ["track_published", "egress_started", "unheard_of"])
def test_other_events_decide_nothing(event: str) -> None:
    """They are ignored with that reason."""
    assert decided(event) == Ignore(IgnoreReason.EVENT_DECIDES_NOTHING)


@pytest.mark.parametrize("event", ["participant_joined", "participant_left", "room_finished"])
@pytest.mark.parametrize("name", ["Demo", "demo2", "*", "support", "x-support-1"])
def test_a_room_that_no_pattern_names_is_not_wanted(event: str, name: str) -> None:
    """Patterns are whole and case-sensitive, and a room's name is never read as one."""
    assert decided(event, room={"name": name}) == Ignore(IgnoreReason.ROOM_NOT_WANTED)


@pytest.mark.parametrize("name", ["support-1", "support-\x00\x1b[2J{}*"])
def test_a_room_that_a_pattern_names_is_wanted(name: str) -> None:
    """Whatever else its name holds."""
    assert decided("room_finished", room={"name": name}) == Finished(name, "RM_room1")


def test_a_room_name_past_the_limit_is_refused() -> None:
    """Counted in bytes, as Redis keeps it."""
    name = "support-" + "ä" * (MAX_ROOM_NAME_BYTES // 2)
    assert decided("room_finished", room={"name": name}) == Ignore(IgnoreReason.ROOM_NAME_TOO_LONG)
