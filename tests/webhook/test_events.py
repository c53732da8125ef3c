"""`webhook.events`: what LiveKit sends is read as it is meant; what nobody sends is one typed error."""

import contextlib
import json

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.models import DisconnectReason, ParticipantInfo, ParticipantPermission
from livekit.protocol.models import Room as ProtoRoom
from livekit.protocol.webhook import WebhookEvent

from tests.webhook.deliveries import body_of, message
from webhook.events import (
    KINDS,
    MAX_SID_CHARS,
    OtherEvent,
    Participant,
    ParticipantGone,
    ParticipantJoined,
    Room,
    RoomFinished,
    RoomStarted,
    UnreadableEvent,
    parse_event,
)


def joined(**participant: object) -> Participant:
    event = parse_event(body_of(message("participant_joined", participant=participant)))
    assert isinstance(event, ParticipantJoined)
    return event.participant


def test_a_join_is_read_whole() -> None:
    """Every field that decides anything comes through; times are milliseconds."""
    assert parse_event(body_of(message("participant_joined"))) == ParticipantJoined(
        delivery="EV_1",
        room=Room(name="demo", sid="RM_room1", created_unix_ms=1763999990123),
        participant=Participant(
            sid="PA_caller1",
            identity="anna",
            kind="STANDARD",
            joined_unix_ms=1763999999456,
            can_publish=True,
            hidden=False,
            recorder=False,
            agent=False,
            disconnect_reason="",
        ),
    )


@pytest.mark.parametrize("event", ["participant_left", "participant_connection_aborted"])
def test_a_leave_keeps_its_reason(event: str) -> None:
    """Left and never-connected are one kind of event, with LiveKit's name for each."""
    gone = parse_event(body_of(message(event, participant={"disconnectReason": "DUPLICATE_IDENTITY"})))
    assert isinstance(gone, ParticipantGone)
    assert (gone.event, gone.participant.disconnect_reason) == (event, "DUPLICATE_IDENTITY")


def test_the_end_of_a_room_is_read() -> None:
    """It names the life of the room that ended."""
    assert parse_event(body_of(message("room_finished"))) == RoomFinished(
        "EV_1", Room("demo", "RM_room1", 1763999990123)
    )


def test_the_opening_of_a_room_is_read() -> None:
    """It names the life of the room that began."""
    assert parse_event(body_of(message("room_started"))) == RoomStarted("EV_1", Room("demo", "RM_room1", 1763999990123))


@pytest.mark.parametrize("event", ["track_published", "egress_ended", "something_new_in_2027"])
def test_other_events_are_kept_as_such(event: str) -> None:
    """An event that decides nothing, or is newer than we are, is no error."""
    assert parse_event(body_of(message(event))) == OtherEvent("EV_1", event, "demo")


@pytest.mark.parametrize("said", [{"event": "egress_started"}, {"event": "x", "room": 3}, {"event": "x", "room": {}}])
def test_other_events_need_no_room(said: dict[str, object]) -> None:
    """Nothing is asked of what is not used."""
    assert parse_event(body_of(said)) == OtherEvent("", str(said["event"]), "")


def test_the_protocols_own_encoder_is_understood() -> None:
    """What protobuf's JSON encoder makes of an event is read back the same, its left-out zeros included."""
    event = WebhookEvent(
        event="participant_joined",
        id="EV_9",
        room=ProtoRoom(sid="RM_9", name="nine", creation_time=5, creation_time_ms=5001),
        participant=ParticipantInfo(
            sid="PA_9",
            identity="sip",
            kind=ParticipantInfo.Kind.SIP,
            joined_at_ms=6001,
            permission=ParticipantPermission(can_subscribe=True, hidden=True, recorder=True, agent=True),
        ),
    )
    parsed = parse_event(MessageToJson(event).encode())
    assert parsed == ParticipantJoined(
        "EV_9", Room("nine", "RM_9", 5001), Participant("PA_9", "sip", "SIP", 6001, False, True, True, True, "")
    )


def test_the_table_of_kinds_is_the_protocols() -> None:
    """A kind that the installed protocol adds must be looked at here."""
    assert {number: name for name, number in ParticipantInfo.Kind.items()} == KINDS


@pytest.mark.parametrize(
    ("wire", "kind"), [("AGENT", "AGENT"), (4, "AGENT"), ("HOLOGRAM", "HOLOGRAM"), (99, "UNKNOWN_99"), (0, "STANDARD")]
)
def test_kinds_are_kept_by_name(wire: object, kind: str) -> None:
    """By name or by number, and an unknown one is never taken for a person."""
    assert joined(kind=wire).kind == kind


def test_a_reason_by_number_is_kept() -> None:
    """A disconnect reason newer than the server's schema comes as a number."""
    assert joined(disconnectReason=max(DisconnectReason.values()) + 1).disconnect_reason == "17"


@pytest.mark.parametrize("permission", [{}, {"canPublish": False}, {"canPublish": 1}, {"canPublish": "true"}])
def test_who_may_not_publish_is_known(permission: object) -> None:
    """A left-out permission is one not given; only `true` is true."""
    assert joined(permission=permission).can_publish is False


def test_without_any_permissions_nothing_is_known_against_a_caller() -> None:
    """A participant whose permissions are not told at all may publish."""
    said = message("participant_joined")
    del said["participant"]["permission"]
    event = parse_event(body_of(said))
    assert isinstance(event, ParticipantJoined)
    assert event.participant.can_publish


@pytest.mark.parametrize(
    ("fields", "joined_unix_ms"),
    [
        ({"joinedAtMs": 12}, 12),
        ({"joinedAtMs": "12"}, 12),
        ({"joinedAtMs": "0", "joinedAt": "3"}, 3000),
        ({"joinedAtMs": 0, "joinedAt": 0}, 0),
    ],
)
def test_times_come_as_text_or_number(fields: dict[str, object], joined_unix_ms: int) -> None:
    """64-bit integers are text in protojson; a server without milliseconds gives seconds."""
    assert joined(**fields).joined_unix_ms == joined_unix_ms


UNREADABLE = [
    ("empty", b""),
    ("not json", b"hello"),
    ("not utf-8", b'{"event": "\xff"}'),
    ("lone surrogate", b'{"event": "\\ud800"}'),
    ("truncated", body_of(message("room_finished"))[:-1]),
    ("nested deep", b"[" * 100_000),
    ("a list", b"[]"),
    ("null", b"null"),
    ("no event", b"{}"),
    ("event a number", b'{"event": 3}'),
    ("id an object", body_of(message("room_finished", id={}))),
    ("no room", b'{"event": "room_finished"}'),
    ("room null", body_of({"event": "room_finished", "room": None})),
    ("room without name", body_of(message("room_finished", room={"name": ""}))),
    ("room without sid", body_of(message("room_finished", room={"sid": ""}))),
    ("sid too long", body_of(message("room_finished", room={"sid": "x" * (MAX_SID_CHARS + 1)}))),
    ("time a word", body_of(message("room_finished", room={"creationTimeMs": "soon"}))),
    ("time of 5000 digits", body_of(message("room_finished", room={"creationTimeMs": "9" * 5000}))),
    ("time past 64 bits", body_of(message("room_finished", room={"creationTimeMs": str(2**63)}))),
    ("time in other digits", body_of(message("room_finished", room={"creationTimeMs": "١٢"}))),
    ("time true", body_of(message("room_finished", room={"creationTimeMs": True}))),
    ("time a fraction", body_of(message("room_finished", room={"creationTimeMs": 1.5}))),
    ("no participant", body_of({**message("room_finished"), "event": "participant_left"})),
    ("participant without sid", body_of(message("participant_left", participant={"sid": ""}))),
    ("kind a list", body_of(message("participant_joined", participant={"kind": []}))),
    ("kind true", body_of(message("participant_joined", participant={"kind": True}))),
    ("permission null", body_of(message("participant_joined", participant={"permission": None}))),
]


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in UNREADABLE])
def test_what_cannot_be_read_is_one_typed_error(body: bytes) -> None:
    """Never another exception, and never a guess."""
    with pytest.raises(UnreadableEvent):
        parse_event(body)


@given(st.binary(max_size=300))
def test_any_bytes_give_an_event_or_the_typed_error(body: bytes) -> None:
    """Garbage never raises anything else."""
    with contextlib.suppress(UnreadableEvent):
        parse_event(body)


values: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})
)
FIELDS = ["sid", "name", "creationTimeMs", "creationTime", "identity", "kind", "joinedAtMs", "permission", "joinedAt"]


@given(
    st.sampled_from(["participant_joined", "participant_left", "room_finished", "track_published"]),
    st.dictionaries(st.sampled_from(FIELDS), values),
    st.dictionaries(st.sampled_from([*FIELDS, "disconnectReason"]), values),
)
def test_any_field_of_any_type_gives_an_event_or_the_typed_error(
    event: str, room: dict[str, object], participant: dict[str, object]
) -> None:
    """The same for a message of the right shape with wrong fields."""
    with contextlib.suppress(UnreadableEvent):
        parse_event(json.dumps(message(event, room=room, participant=participant)).encode())
