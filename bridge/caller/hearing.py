"""What was heard of one participant, as stretches of sound, and the questions one may ask of them.

Pure: times are arguments, seconds on one monotonic clock. A frame is reported when it arrived and stands for the
20 ms before that moment. Time without frames is silence, like a silent frame: nobody heard anything.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bridge.caller.sound import FRAME_S

MAX_STRETCHES = 20_000
"""The oldest are dropped beyond this: about an hour of lively speech, 3 MB."""

JOINS_WITHIN_S = 0.1
"""Frames of one utterance arrive in small heaps when the loop is busy; a longer hole between them is a hole."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """An unbroken run of audible frames: when its sound began and ended to arrive."""

    started_at: float
    ended_at: float


class Hearing:
    """The audible stretches of one audio track, oldest first; bounded, the oldest are dropped."""

    def __init__(self) -> None:
        self._stretches: deque[Stretch] = deque(maxlen=MAX_STRETCHES)
        self._is_open = False
        # Arrival of the first and of the last frame, audible or not; None before the first.
        self.first_frame_at: float | None = None
        self.last_frame_at: float | None = None
        self.frames = 0

    def frame(self, *, at: float, audible: bool) -> None:
        """Note a frame that arrived at `at`; calls come in the order of arrival."""
        self.frames += 1
        self.first_frame_at = at if self.first_frame_at is None else self.first_frame_at
        self.last_frame_at = at
        if not audible:
            self._is_open = False
            return
        if self._is_open and at - self._stretches[-1].ended_at <= JOINS_WITHIN_S:
            self._stretches[-1] = Stretch(self._stretches[-1].started_at, at)
            return
        earliest = self._stretches[-1].ended_at if self._stretches else at - FRAME_S
        self._stretches.append(Stretch(max(at - FRAME_S, earliest), at))
        self._is_open = True

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """All that was audible."""
        return tuple(self._stretches)

    @property
    def first_audible_at(self) -> float | None:
        """Arrival of the first audible frame still remembered."""
        return self._stretches[0].started_at + FRAME_S if self._stretches else None

    @property
    def last_audible_at(self) -> float | None:
        """Arrival of the last audible frame."""
        return self._stretches[-1].ended_at if self._stretches else None


def union(hearings: Iterable[Iterable[Stretch]], *, pause_s: float = 0.0) -> tuple[Stretch, ...]:
    """The stretches in which at least one of several was audible, oldest first; pauses up to `pause_s` are closed."""
    merged: list[Stretch] = []
    for stretch in sorted((s for stretches in hearings for s in stretches), key=lambda s: s.started_at):
        if merged and stretch.started_at - merged[-1].ended_at <= pause_s:
            merged[-1] = Stretch(merged[-1].started_at, max(merged[-1].ended_at, stretch.ended_at))
        else:
            merged.append(stretch)
    return tuple(merged)


def heard_between(stretches: Iterable[Stretch], since: float, until: float) -> float:
    """Seconds of sound between two moments; 0 means not one audible frame."""
    return sum(max(0.0, min(s.ended_at, until) - max(s.started_at, since)) for s in stretches)


def gaps(stretches: Iterable[Stretch], since: float, until: float, *, min_s: float) -> tuple[Stretch, ...]:
    """The silences of at least `min_s` between two moments, those at either end included."""
    return tuple(Stretch(a, b) for a, b in _silences(stretches, since, until) if b - a >= min_s)


def longest_gap(stretches: Iterable[Stretch], since: float, until: float) -> float:
    """Seconds of the longest silence between two moments."""
    return max((b - a for a, b in _silences(stretches, since, until)), default=0.0)


def fell_silent_at(stretches: Iterable[Stretch], after: float, *, for_s: float, known_until: float) -> float | None:
    """When the sound that was on at `after` stopped: its last audible frame before `for_s` of silence.

    Args:
        known_until: Up to when we have listened; silence beyond it is not known yet.

    Returns:
        None when nothing was audible at `after` (give or take a pause shorter than `for_s`), or it has not
        been silent for long enough yet.
    """
    for utterance in union([stretches], pause_s=for_s):
        if utterance.started_at <= after < utterance.ended_at + for_s:
            return utterance.ended_at if known_until - utterance.ended_at >= for_s else None
    return None


def onset_after(stretches: Iterable[Stretch], after: float) -> float | None:
    """When sound that began after `after` began to arrive; sound that was already on does not count."""
    return next((s.started_at for s in stretches if s.started_at >= after), None)


def overlap_s(first: Iterable[Stretch], second: Iterable[Stretch]) -> float:
    """Seconds in which both were audible."""
    others = tuple(second)
    return sum(heard_between(others, stretch.started_at, stretch.ended_at) for stretch in first)


def _silences(stretches: Iterable[Stretch], since: float, until: float) -> Iterator[tuple[float, float]]:
    edge = since
    for stretch in stretches:
        if stretch.ended_at <= since or stretch.started_at >= until:
            continue
        if stretch.started_at > edge:
            yield edge, stretch.started_at
        edge = max(edge, stretch.ended_at)
    if edge < until:
        yield edge, until
