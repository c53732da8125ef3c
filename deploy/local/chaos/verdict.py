"""What a fault's trials came to: the numbers reported, and the promises that were broken. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deploy.local.chaos.measure import CallMeasured
from deploy.local.spread import Spread

SPARED_SILENCE_S = 3.0
"""Of an agent that speaks all the time, far above what a busy machine adds. Who has lost a lease is mute for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault, once.

    Attributes:
        number, seed: Which trial, and what its random choices were drawn from.
        unended: Voice sessions that were left without `session.end` by processes that nobody killed.
        broken: Promises of this fault's own that were not kept, as sentences.
        kept: Files with the story, for whoever looks into it.
    """

    fault: str
    number: int
    seed: str
    calls: tuple[CallMeasured, ...]
    unended: int = 0
    broken: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def promises_broken(self) -> tuple[str, ...]:
        """Every hard promise that was not kept, as a sentence that names the room."""
        return (*(text for call in self.calls for text in _broken_in(call)), *self._of_the_whole())

    def _of_the_whole(self) -> tuple[str, ...]:
        unended = f"{self.unended} voice sessions of processes that live were not ended by session.end"
        return (*((unended,) if self.unended else ()), *self.broken)


def _broken_in(call: CallMeasured) -> list[str]:
    broken = []
    if call.audible_together_s > 0:
        broken.append(f"{call.room}: two agents were audible at once for {call.audible_together_s * 1000:.0f} ms")
    if call.is_lost:
        broken.append(f"{call.room}: the call was lost{f' ({call.problem})' if call.problem else ''}")
    if call.is_spared and call.silence_s > SPARED_SILENCE_S:
        broken.append(
            f"{call.room}: the fault was not this call's, and its agent was silent for {call.silence_s:.1f} s"
        )
    if call.is_reshuffled:
        broken.append(f"{call.room}: the call moved {call.moves} times, where {call.moves_allowed} would have done")
    return broken


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultReport:
    """All trials of one fault. Durations in seconds; a `Spread` is None where there was nothing to measure.

    Attributes:
        skipped: Why the fault cannot be tried on this machine; empty where it was.
    """

    fault: str
    trials: int
    calls: int
    moved: int
    joined: Spread | None
    heard: Spread | None
    hand_over: Spread | None
    passed: Spread | None
    together_s: float
    together_max_s: float
    audible_together_s: float
    lost: int
    reshuffled: int
    unended: int
    silence_max_s: float | None
    broken: tuple[str, ...]
    kept: tuple[str, ...]
    skipped: str = ""

    @property
    def ok(self) -> bool:
        """Whether every promise was kept in every trial."""
        return not self.broken


def report(fault: str, trials: Sequence[Trial], *, is_hand_over: bool = False) -> FaultReport:
    """Add up the trials of one fault.

    Args:
        is_hand_over: The change of agent is meant to pass unnoticed: what is told of it is the gap between the two.
    """
    calls = [call for trial in trials for call in trial.calls]
    return FaultReport(
        fault=fault,
        trials=len(trials),
        calls=len(calls),
        moved=sum(call.moves > 0 for call in calls),
        joined=None if is_hand_over else Spread.of(call.joined_s for call in calls if call.joined_s is not None),
        heard=None if is_hand_over else Spread.of(call.heard_s for call in calls if call.heard_s is not None),
        hand_over=Spread.of(gap for call in calls for gap in call.hand_over_s) if is_hand_over else None,
        passed=Spread.of(gap for call in calls for gap in call.passed_s) if is_hand_over else None,
        together_s=sum(call.together_s for call in calls),
        together_max_s=max((call.together_s for call in calls), default=0.0),
        audible_together_s=sum(call.audible_together_s for call in calls),
        lost=sum(call.is_lost for call in calls),
        reshuffled=sum(call.is_reshuffled for call in calls),
        unended=sum(trial.unended for trial in trials),
        silence_max_s=None if is_hand_over else max((call.silence_s for call in calls), default=None),
        broken=tuple(text for trial in trials for text in trial.promises_broken),
        kept=tuple(path for trial in trials for path in trial.kept),
    )


def skipped(fault: str, reason: str) -> FaultReport:
    """A fault that this machine does not allow."""
    return replace(report(fault, ()), skipped=reason)
