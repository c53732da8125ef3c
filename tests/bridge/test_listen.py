"""Who is heard. The rule who is a caller stands twice, for the room and for the webhook; here they must agree."""

import dataclasses

import pytest
from livekit import rtc

from bridge.listen import CALLER_KINDS, Person, Solo, is_caller
from pool import contract
from webhook.events import Participant

ALICE = Person("PA_1", "alice", "STANDARD", joined_unix_ms=1)


@pytest.mark.parametrize(
    "kind", [name.removeprefix("PARTICIPANT_KIND_") for name, _ in rtc.ParticipantKind.items()] + ["FUTURE_KIND"]
)
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("can_publish", [False, True])
@pytest.mark.parametrize("identity", ["alice", "voice-agent"])
def test_the_room_and_the_receiver_agree_who_is_a_caller(
    kind: str, hidden: bool, can_publish: bool, identity: str
) -> None:
    """Else an agent would be sent for somebody it then does not see, or the other way round."""
    person = dataclasses.replace(ALICE, kind=kind, hidden=hidden, can_publish=can_publish, identity=identity)
    in_the_room = is_caller(person, agent_identity="voice-agent")
    participant = Participant("PA_1", identity, kind, 1, can_publish, hidden, False, False, "")
    by_webhook = contract.RoomRules(("*",), "voice-agent").is_caller(participant)
    assert by_webhook == in_the_room
    assert CALLER_KINDS == contract.CALLER_KINDS


def test_the_first_microphone_is_heard_until_it_goes() -> None:
    """A second caller is heard when the first one is gone, not before."""
    solo = Solo()
    solo.added("TR_1", "PA_1")
    solo.added("TR_2", "PA_2")
    assert solo.current == "TR_1"
    solo.removed("TR_1")
    assert solo.current == "TR_2"


def test_a_caller_who_leaves_takes_every_track_along() -> None:
    """No track of somebody gone is ever heard again."""
    solo = Solo()
    solo.added("TR_1", "PA_1")
    solo.added("TR_3", "PA_1")
    solo.gone("PA_1")
    assert solo.current is None
