"""What becomes of a room when its call ended, as a table. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

from bridge import Ending, Outcome
from pool.registry import Again, Gone, Grant, Release, Rested

BAR_MS = 30_000
"""How long a carrier that was refused, or could not reach LiveKit, leaves the room to others: it fails at once, so it
would always be the quickest to claim again, and a room would be lost to one wrongly set worker among good ones."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What to tell the registry, and the operator."""

    then: Literal["gone", "rested", "again", "nothing"]
    """gone: the callers left. rested: the agent ended it, only a newer caller wakes the room. again: somebody must take
    it. nothing: it is not ours to release."""
    is_failure: bool = False
    """Waits before the next attempt, and is told with its cure."""
    counts: bool = True
    """Of a failure: counts towards the room's quarantine. Not where a whole peer is away: it comes back by itself."""
    bar_ms: int = 0
    """How long this carrier itself stays away from the room."""
    cure: str = ""
    """For failures: what an operator can do."""


CONSEQUENCES: Mapping[Ending, Consequence] = {
    Ending.CALLER_LEFT: Consequence("gone"),
    Ending.NOBODY_THERE: Consequence("gone"),
    Ending.ROOM_OVER: Consequence("gone"),
    Ending.WRONG_LIFE: Consequence("gone"),
    Ending.AGENT_HUNG_UP: Consequence("rested"),
    Ending.LIMIT_REACHED: Consequence("rested"),
    Ending.REMOVED: Consequence("rested"),
    Ending.STOPPED: Consequence("again"),
    Ending.LEASE_LOST: Consequence("nothing"),
    Ending.HUNG_UP: Consequence("rested"),
    Ending.PASSED: Consequence("nothing"),
    Ending.NOT_NEEDED: Consequence("nothing"),
    Ending.IDENTITY_TAKEN: Consequence(
        "rested",
        is_failure=True,
        cure="somebody else joins as ROOMPOOL_AGENT_IDENTITY: give the pool an identity that nobody else uses",
    ),
    Ending.ROOM_LOST: Consequence(
        "again", is_failure=True, counts=False, bar_ms=BAR_MS, cure="check the network to LiveKit"
    ),
    Ending.ROOM_REFUSED: Consequence(
        "again",
        is_failure=True,
        bar_ms=BAR_MS,
        cure="LiveKit refuses our join: check LIVEKIT_API_KEY, LIVEKIT_API_SECRET, both clocks, and the room's name",
    ),
    Ending.ROOM_UNREACHABLE: Consequence(
        "again",
        is_failure=True,
        counts=False,
        bar_ms=BAR_MS,
        cure="check LIVEKIT_URL and the network, UDP included, to LiveKit",
    ),
    Ending.VOICE_LOST: Consequence(
        "again",
        is_failure=True,
        counts=False,
        cure="check ROOMPOOL_VOICE_URL, the network to it, and the vendor's status",
    ),
    Ending.VOICE_REFUSED: Consequence(
        "again",
        is_failure=True,
        bar_ms=BAR_MS,
        cure="the voice peer refuses our key: check ASSEMBLYAI_API_KEY, also for blanks",
    ),
    Ending.VOICE_MISFIT: Consequence(
        "again",
        is_failure=True,
        bar_ms=BAR_MS,
        cure="the voice refuses our configuration: check ROOMPOOL_VOICES, ROOMPOOL_TURN_DETECTION, ROOMPOOL_VOICE_URL",
    ),
    Ending.BUG: Consequence(
        "again", is_failure=True, cure="a bug of roompool: please report the lines before this one"
    ),
}


def release_for(grant: Grant, outcome: Outcome) -> Release | None:
    """How to give a room back after this outcome, or None when it is not ours to give.

    The callers served are those seen in the room, and those the grant named: a caller who came later wakes the room.
    """
    consequence = CONSEQUENCES[outcome.ending]
    served = {**grant.callers, **outcome.served}
    match consequence.then:
        case "gone":
            return Gone(served=served)
        case "rested":
            return Rested(served=served)
        case "again":
            return Again(failed=consequence.is_failure, counts=consequence.counts, bar_ms=consequence.bar_ms)
        case "nothing":
            return None
        case _:
            assert_never(consequence.then)


def facts_of(outcome: Outcome) -> Mapping[str, int | str | None]:
    """What the call's one log line says of it."""
    return {
        "ending": outcome.ending.value,
        "code": outcome.code,
        "call_ms": outcome.call_ms,
        "joined_ms": outcome.joined_ms,
        "voice_ready_ms": outcome.voice_ready_ms,
        "first_sound_ms": outcome.first_sound_ms,
        "replies": outcome.replies,
        "barge_ins": outcome.barge_ins,
        "voice_sessions": outcome.voice_sessions,
        "heard_ms": outcome.heard_ms,
        "dropped_in_ms": outcome.dropped_in_ms,
        "dropped_out_ms": outcome.dropped_out_ms,
        "frames_muted": outcome.frames_muted,
    }
