"""One call through one fault, from what its caller saw and heard. Pure: reads a `Witness`, returns numbers.

A *move* is an agent of a later grant in the room: the fence in its attributes tells. The same agent that comes back
after a reconnect of its own, or of the caller's, is no move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bridge.caller.witness import AgentStay, Witness


@dataclass(frozen=True, slots=True)
class Window:
    """A fault in the life of a call, on the monotonic clock.

    Attributes:
        injected_at: When the fault began.
        over_at: When its cause was gone: the process thawed, the network whole. For a kill the same as `injected_at`.
        until: Up to when the call was watched.
        fence: The grant of the agent that was there before; 0 when there was none yet.
        passes: When the room was passed on, by the fence it was passed on under.
    """

    injected_at: float
    over_at: float
    until: float
    fence: int = 0
    passes: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMeasured:
    """What one caller went through. Durations in seconds; None is what did not happen or does not apply.

    Attributes:
        moves: How often an agent of a later grant came in. `moves_allowed`: how often the fault needed that, at most.
        joined_s, heard_s: From the fault to the next agent in the room, and to its first sound.
        together_s, audible_together_s: With two agents present, and with two audible.
        is_spared: An agent was there before the fault, and the fault is no reason to replace it.
        silence_s: The longest silence from the fault to its end, or to the next agent's first sound if that is later.
            When nobody answered any more, to the end of watching.
        hand_over_s: From the last frame of one agent to the first of the next; for each move. The frames of one that is
            muted, or that died, go on for as long as LiveKit does not say that it left.
        passed_s: From the moment in which an agent passed its room on, and was mute, to the next one's first frame.
        answered: Whether an agent answered the caller afterwards.
        problem: What went wrong with the watching itself; empty when nothing did.
    """

    room: str
    moves: int = 0
    moves_allowed: int = 0
    is_spared: bool = False
    joined_s: float | None = None
    heard_s: float | None = None
    together_s: float = 0.0
    audible_together_s: float = 0.0
    silence_s: float = 0.0
    hand_over_s: tuple[float, ...] = ()
    passed_s: tuple[float, ...] = ()
    answered: bool = False
    problem: str = ""

    @property
    def is_lost(self) -> bool:
        """The caller was there, and nobody answered any more."""
        return not self.answered

    @property
    def is_reshuffled(self) -> bool:
        """The call changed hands though the fault did not need it, or more often than it did."""
        return self.moves > self.moves_allowed


def measured(
    witness: Witness, window: Window, *, room: str, moves_allowed: int, answered: bool, problem: str = ""
) -> CallMeasured:
    """The numbers of one call."""
    later = later_grants(witness.stays, window.fence)
    joined_at = min((stay.seen_at for stay in later), default=None)
    heard_at = min((stay.heard_at for stay in later if stay.heard_at is not None), default=None)
    silence_until = min(max(window.over_at, heard_at or 0.0), window.until) if answered else window.until
    return CallMeasured(
        room=room,
        moves=max(0, len({stay.fence for stay in later}) - (0 if window.fence else 1)),
        moves_allowed=moves_allowed,
        is_spared=window.fence > 0 and moves_allowed == 0,
        joined_s=_since(window.injected_at, joined_at),
        heard_s=_since(window.injected_at, heard_at),
        together_s=witness.together_s(window.until),
        audible_together_s=witness.overlap_s(),
        silence_s=witness.longest_gap(window.injected_at, silence_until),
        hand_over_s=hand_overs(witness.stays, window.injected_at),
        passed_s=tuple(
            first - window.passes[stay.fence]
            for stay in later
            if stay.fence in window.passes and (first := stay.frames_from_at) is not None
        ),
        answered=answered,
        problem=problem,
    )


def later_grants(stays: Sequence[AgentStay], fence: int) -> list[AgentStay]:
    """The stays of agents that came by a later grant than this one."""
    return [stay for stay in stays if stay.fence > fence]


def hand_overs(stays: Sequence[AgentStay], since: float) -> tuple[float, ...]:
    """From the last frame of each agent to the first of the next one, for every change of grant since a moment.

    Negative when they came together. An agent of whom no frame came has no part in it.
    """
    playing = [
        (stay.fence, first, last)
        for stay in stays
        if (first := stay.frames_from_at) is not None and (last := stay.frames_until_at) is not None
    ]
    return tuple(first - last for (old, _, last), (new, first, _) in pairwise(playing) if new != old and first >= since)


def _since(began_at: float, at: float | None) -> float | None:
    return None if at is None else at - began_at
