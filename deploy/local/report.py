"""What the demo measured, as values: steps, checks, and the report that a program reads. Pure.

A step belongs to one caller. Its `at_ms` counts from the moment that caller dialled, its `took_ms` from the event that
caused it. The demo fails when a check does; slowness is reported and never judged.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from deploy.local.stack import Part


class What(enum.Enum):
    """A step of a call, in the order in which they happen. The value is its name in the report."""

    IN_ROOM = "in_room"
    WEBHOOK = "webhook"
    CLAIMED = "claimed"
    AGENT_JOINED = "agent_joined"
    GREETED = "greeting_heard"
    SPOKE = "caller_spoke"
    ANSWERED = "reply_heard"
    INTERRUPTED = "caller_interrupted"
    VOICE_NOTICED = "interruption_noticed"
    SILENT = "agent_silent"
    KILLED = "worker_killed"
    CLAIMED_AGAIN = "claimed_again"
    JOINED_AGAIN = "agent_joined_again"
    HEARD_AGAIN = "agent_heard_again"
    ANSWERED_AGAIN = "reply_heard_again"
    HUNG_UP = "caller_hung_up"
    AGENT_GONE = "agent_gone"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened in a call.

    Attributes:
        at_ms: Since this caller dialled.
        took_ms: Since the event that `since` names; None for what the script itself decides.
        detail: For a person: which worker, how long, why.
    """

    caller: str
    what: What
    at_ms: int
    took_ms: int | None = None
    since: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMade:
    """One scripted call after its end.

    Attributes:
        workers: Who claimed its room, in that order.
        agents_max, audible_max: The most agents present, and audible, at one moment; measured in the room.
        ended: What the worker said of the call's end, empty when it said nothing.
        problem: Why the script broke off, as a sentence; empty when it did not.
    """

    caller: str
    room: str
    steps: Sequence[Step] = ()
    workers: Sequence[str] = ()
    agents_max: int = 0
    audible_max: int = 0
    overlap_ms: int = 0
    ended: Mapping[str, Any] = field(default_factory=dict)
    recording: str = ""
    problem: str = ""

    def step(self, what: What) -> Step | None:
        """The first step of that kind, or None when it did not happen."""
        return next((step for step in self.steps if step.what is what), None)

    def has(self, *wanted: What) -> bool:
        return all(self.step(what) for what in wanted)


@dataclass(frozen=True, slots=True)
class Check:
    """A promise, and whether it was kept. `detail` says what was seen when it was not."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What may be expected of this run.

    Attributes:
        webhooks: LiveKit posts to our receiver; not so when it is somebody else's.
        turns: The voice answers and can be interrupted as the script counts on. Only of the simulator do we know it.
    """

    webhooks: bool
    turns: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of a run."""

    parts: Sequence[Part]
    calls: Sequence[CallMade]
    checks: Sequence[Check]
    took_s: float

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def exit_status(self) -> int:
        return 0 if self.ok else 1


def checks_of(calls: Sequence[CallMade], expected: Expected, errors_logged: Sequence[str]) -> list[Check]:
    """Judge a run.

    Args:
        errors_logged: `process: event` for each line of level error in our processes' logs.
    """
    checks = [
        _each("every caller heard an agent", calls, lambda call: call.has(What.AGENT_JOINED, What.GREETED)),
        _each("never two agents in a room", calls, lambda call: call.agents_max <= 1),
        _each("never two agents audible", calls, lambda call: call.audible_max <= 1),
        _each("the agent left after the caller", calls, lambda call: call.has(What.HUNG_UP, What.AGENT_GONE)),
        _taken_over(calls),
    ]
    if expected.webhooks:
        checks.append(_each("a webhook told of every caller", calls, lambda call: call.has(What.WEBHOOK)))
    if expected.turns:
        spoke = [call for call in calls if call.has(What.SPOKE)]
        checks.append(_each("every turn was answered", spoke, lambda call: call.has(What.ANSWERED)))
        checks.append(_interrupted(calls))
    checks.append(Check("no process logged an error", not errors_logged, "; ".join(errors_logged[:3])))
    broken = [f"{call.caller}: {call.problem}" for call in calls if call.problem]
    checks.append(Check("the script came to its end", bool(calls) and not broken, "; ".join(broken)))
    return checks


def _each(name: str, calls: Sequence[CallMade], is_kept: Any) -> Check:
    missing = [call.caller for call in calls if not is_kept(call)]
    return Check(name, bool(calls) and not missing, f"not so for {', '.join(missing)}" if missing else "")


def _taken_over(calls: Sequence[CallMade]) -> Check:
    name = "another worker took the killed one's room"
    killed = next((call for call in calls if call.has(What.KILLED)), None)
    if killed is None:
        return Check(name, False, "no worker was killed")
    if not killed.has(What.CLAIMED_AGAIN, What.JOINED_AGAIN, What.HEARD_AGAIN):
        return Check(name, False, "no new agent was seen, claimed for and heard")
    first, *later = killed.workers or ("",)
    return Check(name, bool(later) and later[-1] != first, f"claimed by {', then '.join(killed.workers)}")


def _interrupted(calls: Sequence[CallMade]) -> Check:
    """The agent stopped because it was interrupted, which the worker counts, and not because it had finished."""
    name = "the agent fell silent when interrupted"
    call = next((call for call in calls if call.has(What.INTERRUPTED)), None)
    if call is None:
        return Check(name, False, "nobody interrupted it")
    return Check(name, call.has(What.SILENT) and call.ended.get("barge_ins", 0) >= 1, f"by {call.caller}")


def as_json(report: Report, **facts: Any) -> dict[str, Any]:
    """The report as JSON takes it; `facts` of this run come first.

    `parts[].simulated` says what was not real, every `_ms` is milliseconds.
    """
    return {
        "ok": report.ok,
        "exit_status": report.exit_status,
        "took_s": round(report.took_s, 2),
        **facts,
        "checks": [asdict(check) for check in report.checks],
        "parts": [
            {
                "name": part.name,
                "detail": part.detail,
                "simulated": part.is_simulated,
                "up_after_ms": round(part.took_s * 1000),
            }
            for part in report.parts
        ],
        "calls": [_call_as_json(call) for call in report.calls],
    }


def _call_as_json(call: CallMade) -> dict[str, Any]:
    steps = [
        {"step": s.what.value, "at_ms": s.at_ms, "took_ms": s.took_ms, "since": s.since, "detail": s.detail}
        for s in call.steps
    ]
    return {
        "caller": call.caller,
        "room": call.room,
        "workers": list(call.workers),
        "agents_max": call.agents_max,
        "audible_max": call.audible_max,
        "overlap_ms": call.overlap_ms,
        "ended": dict(call.ended),
        "recording": call.recording,
        "problem": call.problem,
        "steps": steps,
    }


MEASURED: tuple[tuple[What, str, str], ...] = (
    (What.IN_ROOM, "caller in the room", "dialling"),
    (What.WEBHOOK, "webhook accepted", "dialling"),
    (What.CLAIMED, "room claimed by a worker", "webhook"),
    (What.AGENT_JOINED, "agent in the room", "claim"),
    (What.GREETED, "greeting heard", "agent in the room"),
    (What.ANSWERED, "reply heard", "the caller's last word"),
    (What.SILENT, "agent silent", "the interruption's first sound"),
    (What.AGENT_GONE, "agent gone", "hanging up"),
    (What.CLAIMED_AGAIN, "room claimed by the other worker", "kill -9"),
    (What.JOINED_AGAIN, "new agent in the room", "kill -9"),
    (What.HEARD_AGAIN, "new agent heard", "kill -9"),
)
"""The rows of the table of measurements: step, its name for a person, what its time counts from."""


def measured_rows(calls: Sequence[CallMade]) -> list[tuple[str, str, list[str]]]:
    """The table of measurements: name, what the time counts from, and a time for each call; rows of nobody left out."""
    rows = []
    for what, name, since in MEASURED:
        steps = [call.step(what) for call in calls]
        if any(steps):
            rows.append((name, since, [duration(step.took_ms if step else None) for step in steps]))
    return rows


def duration(ms: int | None) -> str:
    """`87 ms`, `3.41 s`, or nothing for None."""
    if ms is None:
        return ""
    return f"{ms} ms" if abs(ms) < 1000 else f"{ms / 1000:.2f} s"


def env_file(variables: Mapping[str, str], *, programs: str, quote: Any) -> str:
    """A file for `source`: these variables, and our programs first on PATH."""
    lines = ["# The running demo, for the commands of roompool: source this file.", f'PATH={quote(programs)}:"$PATH"']
    lines += [f"export {name}={quote(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"


def first_failed(checks: Iterable[Check]) -> Check | None:
    return next((check for check in checks if not check.ok), None)
