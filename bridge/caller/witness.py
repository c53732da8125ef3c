"""What happened in the room, as the caller saw and heard it: which agents were there, when, and which were audible.

Pure: every note carries its time. One `AgentStay` is one stay of one participant of kind agent; an agent that is
replaced under the same identity is a second stay, so a hand-over can be told from an agent that never left.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from bridge.caller import hearing
from bridge.caller.hearing import Hearing, Stretch

MAX_STAYS = 1_000
"""Stays remembered, the oldest dropped: one room sees a handful."""

MAX_STATES = 1_000
"""Changes of `lk.agent.state` remembered per stay, the oldest dropped."""

FRAMES_OVERDUE_S = 1.0

AUDIBLE_TOGETHER_S = 0.06
"""Two agents count as audible at once when their last audible frames are closer than this (three frames)."""


@dataclass(slots=True)
class AgentStay:
    """One agent in the room, from its join to its leave. Times are None until they happened."""

    identity: str
    sid: str
    seen_at: float
    # The number of the grant by which it came in, by its own word; 0 when it shows none.
    fence: int = 0
    subscribed_at: float | None = None
    left_at: float | None = None
    # Whether a track of its is being listened to right now.
    is_playing: bool = False
    hearing: Hearing = field(default_factory=Hearing)
    # (when, value of the attribute lk.agent.state), oldest first.
    states: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=MAX_STATES))

    @property
    def heard_at(self) -> float | None:
        """Arrival of its first audible frame."""
        return self.hearing.first_audible_at

    @property
    def frames_from_at(self) -> float | None:
        """Arrival of its first frame, audible or not."""
        return self.hearing.first_frame_at

    @property
    def frames_until_at(self) -> float | None:
        """Arrival of its last frame, audible or not."""
        return self.hearing.last_frame_at


class Witness:
    """Everything one caller noticed. Written by the adapter, read by anybody."""

    def __init__(self) -> None:
        self._stays: deque[AgentStay] = deque(maxlen=MAX_STAYS)
        self._present: dict[str, AgentStay] = {}
        # (when, how many agents were present from then on), oldest first.
        self.presence: deque[tuple[float, int]] = deque(maxlen=MAX_STAYS * 2)
        self.agents_max = 0
        self.audible_max = 0

    # ---- notes

    def seen(self, *, identity: str, sid: str, at: float, fence: int = 0) -> AgentStay:
        """An agent is in the room. Seen twice is seen once."""
        if sid in self._present:
            return self._present[sid]
        stay = AgentStay(identity, sid, at, fence)
        self._stays.append(stay)
        self._present[sid] = stay
        self.agents_max = max(self.agents_max, len(self._present))
        self.presence.append((at, len(self._present)))
        return stay

    def left(self, *, sid: str, at: float) -> None:
        """An agent is gone; one never seen is ignored."""
        stay = self._present.pop(sid, None)
        if stay is not None:
            stay.left_at = at
            stay.is_playing = False
            self.presence.append((at, len(self._present)))

    def subscribed(self, stay: AgentStay, *, at: float) -> None:
        """Its audio track is ours to hear; the first time counts."""
        stay.subscribed_at = at if stay.subscribed_at is None else stay.subscribed_at
        stay.is_playing = True

    def unsubscribed(self, stay: AgentStay) -> None:
        """Its audio track is gone."""
        stay.is_playing = False

    def state(self, stay: AgentStay, *, state: str, at: float) -> None:
        """Its `lk.agent.state`; a repetition is no change."""
        if not stay.states or stay.states[-1][1] != state:
            stay.states.append((at, state))

    def frame(self, stay: AgentStay, *, at: float, audible: bool) -> None:
        """20 ms of its sound arrived."""
        stay.hearing.frame(at=at, audible=audible)
        if audible:
            self.audible_max = max(self.audible_max, self._audible_at(at))

    def _audible_at(self, at: float) -> int:
        """How many agents' last audible frame is fresh; also one that has just left, as its sound still counts."""
        marks = (stay.hearing.last_audible_at for stay in self._recent(at))
        return sum(1 for mark in marks if mark is not None and at - mark <= AUDIBLE_TOGETHER_S)

    def _recent(self, at: float) -> Iterator[AgentStay]:
        return (stay for stay in self._stays if stay.left_at is None or at - stay.left_at <= AUDIBLE_TOGETHER_S)

    # ---- questions

    @property
    def stays(self) -> tuple[AgentStay, ...]:
        """All agents ever seen, in the order they were."""
        return tuple(self._stays)

    @property
    def present(self) -> tuple[AgentStay, ...]:
        """The agents in the room now."""
        return tuple(self._present.values())

    @property
    def seen_at(self) -> float | None:
        """When the first agent was seen."""
        return self._stays[0].seen_at if self._stays else None

    @property
    def subscribed_at(self) -> float | None:
        """When the first agent's audio was subscribed."""
        return min((s.subscribed_at for s in self._stays if s.subscribed_at is not None), default=None)

    @property
    def heard_at(self) -> float | None:
        """When the first audible frame of any agent arrived."""
        return min((s.heard_at for s in self._stays if s.heard_at is not None), default=None)

    @property
    def last_audible_at(self) -> float | None:
        """When the last audible frame of any agent arrived."""
        return max((at for s in self._stays if (at := s.hearing.last_audible_at) is not None), default=None)

    def known(self, now: float) -> str:
        """What is known of the newest agent, as a clause: where the way of its voice to us ends."""
        if not self._stays:
            return "no agent was seen"
        stay = self._stays[-1]
        came = f"an agent came {now - stay.seen_at:.1f} s ago"
        left = "" if stay.left_at is None else f" and left {now - stay.left_at:.1f} s ago"
        if stay.subscribed_at is None:
            return f"{came}{left}, and its track never did"
        if stay.frames_until_at is None:
            return f"{came}{left}, and no frame of its track"
        frames = f"its last frame {now - stay.frames_until_at:.1f} s ago"
        last_at = stay.hearing.last_audible_at
        return f"{came}{left}, {frames}, " + (
            "none audible" if last_at is None else f"audible {now - last_at:.1f} s ago"
        )

    def known_until(self, now: float) -> float:
        """Up to when we know what was audible: the last frame of the slowest track that still plays.

        Frames come without end while a track plays; none for a second means that there is nothing to hear.
        """
        frames = (s.hearing.last_frame_at for s in self._present.values() if s.is_playing)
        return max(min((at for at in frames if at is not None), default=now), now - FRAMES_OVERDUE_S)

    def audible(self) -> tuple[Stretch, ...]:
        """The stretches in which any agent was audible."""
        return hearing.union(stay.hearing.stretches for stay in self._stays)

    def heard_between(self, since: float, until: float) -> float:
        """Seconds of any agent's sound between two moments."""
        return hearing.heard_between(self.audible(), since, until)

    def gaps(self, since: float, until: float, *, min_s: float) -> tuple[Stretch, ...]:
        """The silences of at least `min_s` between two moments."""
        return hearing.gaps(self.audible(), since, until, min_s=min_s)

    def longest_gap(self, since: float, until: float) -> float:
        """Seconds of the longest silence between two moments."""
        return hearing.longest_gap(self.audible(), since, until)

    def fell_silent_at(self, after: float, *, for_s: float, known_until: float) -> float | None:
        """When the agent that was audible at `after` stopped; see `hearing.fell_silent_at`."""
        return hearing.fell_silent_at(self.audible(), after, for_s=for_s, known_until=known_until)

    def onset_after(self, after: float) -> float | None:
        """When an agent next began to be audible."""
        return hearing.onset_after(self.audible(), after)

    def together_s(self, until: float) -> float:
        """Seconds, up to a moment, in which more than one agent was present."""
        notes = [*self.presence, (until, 0)]
        return sum(max(0.0, min(after, until) - at) for (at, count), (after, _) in pairwise(notes) if count > 1)

    def overlap_s(self) -> float:
        """Seconds in which two agents were audible at once. Anything but 0 is a failure of the pool."""
        stays = self.stays
        return sum(
            hearing.overlap_s(first.hearing.stretches, second.hearing.stretches)
            for index, first in enumerate(stays)
            for second in stays[index + 1 :]
        )
