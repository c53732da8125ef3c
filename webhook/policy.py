"""What an event means for the pool: a note to submit, or a reason to let it be. Pure.

A `Note` says what is so, by sids, and not what to do: a delivery that comes twice, late, or replayed within the five
minutes its signature lasts writes the same again, or the past of a stay that has ended. So nothing has to remember ids.
"""

import enum
from dataclasses import dataclass
from typing import assert_never

from pool.contract import CALLER_KINDS, MAX_ROOM_NAME_BYTES, Arrived, Finished, Left, Note, Opened, RoomRules, Someone
from webhook.events import OtherEvent, ParticipantGone, ParticipantJoined, RoomEvent, RoomFinished, RoomStarted


class IgnoreReason(enum.Enum):
    """Why an event changes nothing."""

    EVENT_DECIDES_NOTHING = "event_decides_nothing"
    ROOM_NOT_WANTED = "room_not_wanted"
    ROOM_NAME_TOO_LONG = "room_name_too_long"
    OWN_AGENT = "own_agent"
    KIND = "kind"
    """Not a kind that is a person; the name of the kind stands beside it."""
    HIDDEN = "hidden"
    RECORDER = "recorder"
    AGENT = "agent"
    """By permission."""
    MAY_NOT_PUBLISH = "may_not_publish"
    NOT_A_CALLER = "not_a_caller"
    """By a rule that has no reason of its own here."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing is submitted."""

    reason: IgnoreReason


def decide(event: RoomEvent, rules: RoomRules, *, prepares: bool = False) -> Note | Ignore:
    """Turn an event into what room state should know.

    Everybody's leaving is noted, callers or not: permissions may have changed since they came, and room state knows
    whom it had counted. Our own agent's is not; its worker knows better than anybody.

    Args:
        prepares: A room that LiveKit opens is wanted at once, before anybody is in it.
    """
    match event:
        case OtherEvent():
            return Ignore(IgnoreReason.EVENT_DECIDES_NOTHING)
        case RoomStarted() if not prepares:
            return Ignore(IgnoreReason.EVENT_DECIDES_NOTHING)
        case (
            ParticipantJoined(room=room) | ParticipantGone(room=room) | RoomFinished(room=room) | RoomStarted(room=room)
        ):
            if len(room.name.encode()) > MAX_ROOM_NAME_BYTES:
                return Ignore(IgnoreReason.ROOM_NAME_TOO_LONG)
            if not rules.is_wanted(room.name):
                return Ignore(IgnoreReason.ROOM_NOT_WANTED)
        case _:
            assert_never(event)
    match event:
        case RoomStarted(room=room):
            return Opened(room.name, room.sid, room.created_unix_ms)
        case RoomFinished(room=room):
            return Finished(room.name, room.sid)
        case ParticipantJoined(participant=someone) | ParticipantGone(participant=someone) if (
            someone.identity == rules.agent_identity
        ):
            return Ignore(IgnoreReason.OWN_AGENT)
        case ParticipantGone(room=room, participant=someone):
            return Left(room.name, room.sid, someone.sid)
        case ParticipantJoined(room=room, participant=someone):
            if not rules.is_caller(someone):
                return Ignore(why_no_caller(someone))
            return Arrived(room.name, room.sid, room.created_unix_ms, someone.sid, someone.joined_unix_ms)
        case _:
            assert_never(event)


def why_no_caller(someone: Someone) -> IgnoreReason:
    """The first thing that speaks against somebody who is no caller of ours (`RoomRules.is_caller`)."""
    if (someone.kind or "STANDARD") not in CALLER_KINDS:
        return IgnoreReason.KIND
    against = {
        IgnoreReason.HIDDEN: someone.hidden,
        IgnoreReason.RECORDER: someone.recorder,
        IgnoreReason.AGENT: someone.agent,
        IgnoreReason.MAY_NOT_PUBLISH: not someone.can_publish,
    }
    return next((reason for reason, is_so in against.items() if is_so), IgnoreReason.NOT_A_CALLER)
