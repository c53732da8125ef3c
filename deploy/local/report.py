"""What the demo measured, as values: steps, checks, and the report that a program reads. Pure.

A step belongs to one caller. Its `at_ms` counts from the moment that caller dialled, its `took_ms` from the event that
caused it. The demo fails when a check does; slowness is reported and never judged.
"""

import enum
import shlex
from collections.abc import Callable, Mapping, Sequence
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
    """A promise, and whether it was kept. When it was not, `detail` says what was seen and `cure` what to do."""

    name: str
    ok: bool
    detail: str = ""
    cure: str = ""


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
        _whole(calls),
        _each(HEARD, calls, lambda call: call.has(What.AGENT_JOINED, What.GREETED)),
        _each(ONE_AGENT, calls, lambda call: call.agents_max <= 1),
        _each(ONE_VOICE, calls, lambda call: call.audible_max <= 1),
        _each(LEFT, calls, lambda call: call.has(What.HUNG_UP, What.AGENT_GONE)),
        _taken_over(calls),
    ]
    if expected.webhooks:
        checks.append(_each(WEBHOOKS, calls, lambda call: call.has(What.WEBHOOK)))
    if expected.turns:
        spoke = [call for call in calls if call.has(What.SPOKE)]
        checks.append(_each(ANSWERED, spoke, lambda call: call.has(What.ANSWERED)))
        checks.append(_interrupted(calls))
    checks.append(_check(NO_ERRORS, not errors_logged, "; ".join(errors_logged[:3])))
    return checks


WHOLE = "the script came to its end"
HEARD = "every caller heard an agent"
ONE_AGENT = "never two agents in a room"
ONE_VOICE = "never two agents audible"
LEFT = "the agent left after the caller"
TAKEN_OVER = "another worker took the killed one's room"
WEBHOOKS = "a webhook told of every caller"
ANSWERED = "every turn was answered"
INTERRUPTED = "the agent fell silent when interrupted"
NO_ERRORS = "no process logged an error"

_BUSY = "On a machine that is too busy speech arrives with holes, and is no turn: try again with less to do."
_NEVER = "This must never be: keep the logs and report it."
CURES: Mapping[str, str] = {
    WHOLE: "The workers' logs say what became of the room. In short of time, try again with less to do.",
    HEARD: "The workers' logs say whether the room was claimed, and why its call ended.",
    ONE_AGENT: _NEVER,
    ONE_VOICE: _NEVER,
    LEFT: "The workers' logs say how the call ended: event call_ended.",
    TAKEN_OVER: "The other worker's log says whether it claimed the room, and why its call ended.",
    WEBHOOKS: "The receiver's log has a line for each delivery, livekit-server's for each that it could not post.",
    ANSWERED: _BUSY,
    INTERRUPTED: _BUSY,
    NO_ERRORS: "The log of that process has the whole line.",
}


def _check(name: str, ok: bool, detail: str = "") -> Check:
    return Check(name, True) if ok else Check(name, False, detail, CURES[name])


def _each(name: str, calls: Sequence[CallMade], is_kept: Callable[[CallMade], bool]) -> Check:
    missing = [call.caller for call in calls if not is_kept(call)]
    return _check(name, bool(calls) and not missing, f"not so for {', '.join(missing)}" if missing else "no calls")


def _whole(calls: Sequence[CallMade]) -> Check:
    callers_by_problem: dict[str, list[str]] = {}
    for call in calls:
        if call.problem:
            callers_by_problem.setdefault(call.problem, []).append(call.caller)
    broken = [f"{', '.join(callers)}: {problem}" for problem, callers in callers_by_problem.items()]
    return _check(WHOLE, bool(calls) and not broken, "; ".join(broken))


def _taken_over(calls: Sequence[CallMade]) -> Check:
    killed = next((call for call in calls if call.has(What.KILLED)), None)
    if killed is None:
        return _check(TAKEN_OVER, False, "no worker was killed")
    if not killed.has(What.CLAIMED_AGAIN, What.JOINED_AGAIN, What.HEARD_AGAIN):
        return _check(TAKEN_OVER, False, "no new agent was seen and heard")
    first, *later = killed.workers or ("",)
    return _check(TAKEN_OVER, bool(later) and later[-1] != first, f"claimed by {', then '.join(killed.workers)}")


def _interrupted(calls: Sequence[CallMade]) -> Check:
    """The agent stopped because it was interrupted, which the worker counts, and not because it had finished."""
    call = next((call for call in calls if call.has(What.INTERRUPTED)), None)
    if call is None:
        return _check(INTERRUPTED, False, "nobody interrupted it")
    return _check(INTERRUPTED, call.has(What.SILENT) and call.ended.get("barge_ins", 0) >= 1, f"by {call.caller}")


def as_json(report: Report, **facts: Any) -> dict[str, Any]:
    """The report as JSON takes it; `facts` of this run come early.

    `parts[].simulated` says what was not real, every `_ms` is milliseconds.
    """
    return {
        "ok": report.ok,
        "exit_status": report.exit_status,
        "took_s": round(report.took_s, 2),
        **facts,
        "takeover": takeover_of(report.calls),
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


def takeover_of(calls: Sequence[CallMade]) -> dict[str, Any]:
    """Who was killed, who took over, and how long after the kill; empty when nobody was."""
    call = next((call for call in calls if call.has(What.KILLED)), None)
    if call is None:
        return {}
    wanted = {"claimed": What.CLAIMED_AGAIN, "agent_joined": What.JOINED_AGAIN, "agent_heard": What.HEARD_AGAIN}
    steps = {name: call.step(what) for name, what in wanted.items()}
    return {
        "caller": call.caller,
        "killed": call.workers[0] if call.workers else "",
        "taken_by": call.workers[-1] if len(call.workers) > 1 else "",
        **{f"{name}_ms": step.took_ms if step else None for name, step in steps.items()},
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


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of measurements: when `what` happened after `base`, or by default after what caused it."""

    name: str
    what: What
    base: What | None = None
    since: str = ""

    def ms(self, call: CallMade) -> int | None:
        """This row's time in one call, None when it did not happen there."""
        step = call.step(self.what)
        if step is None or self.base is None:
            return step.took_ms if step else None
        base = call.step(self.base)
        return step.at_ms - base.at_ms if base else None

    def counted_from(self, calls: Sequence[CallMade]) -> str:
        """What the time counts from; by default as the steps say it."""
        return self.since or next((step.since for call in calls if (step := call.step(self.what))), "")


ROWS = (
    Row("caller in the room", What.IN_ROOM),
    Row("webhook received", What.WEBHOOK),
    Row("room claimed", What.CLAIMED),
    Row("agent in the room", What.AGENT_JOINED),
    Row("agent in the room", What.AGENT_JOINED, What.IN_ROOM, "the caller in the room"),
    Row("greeting heard", What.GREETED, What.IN_ROOM, "the caller in the room"),
    Row("reply heard", What.ANSWERED),
    Row("agent silent", What.SILENT),
    Row("agent silent", What.SILENT, What.VOICE_NOTICED, "the voice noticing it"),
    Row("agent gone", What.AGENT_GONE),
    Row("claimed by the other", What.CLAIMED_AGAIN),
    Row("new agent in the room", What.JOINED_AGAIN),
    Row("new agent heard", What.HEARD_AGAIN),
)


def measured_rows(calls: Sequence[CallMade]) -> list[tuple[str, str, list[str]]]:
    """The table of measurements: name, what the time counts from, a time for each call. Rows of nobody are left out."""
    rows = [(row.name, row.counted_from(calls), [row.ms(call) for call in calls]) for row in ROWS]
    return [(name, since, [duration(ms) for ms in times]) for name, since, times in rows if any_known(times)]


def any_known(times: Sequence[int | None]) -> bool:
    return any(ms is not None for ms in times)


def duration(ms: int | None) -> str:
    """`87 ms`, `3.41 s`, or nothing for None."""
    if ms is None:
        return ""
    return f"{ms} ms" if abs(ms) < 1000 else f"{ms / 1000:.2f} s"


def env_file(variables: Mapping[str, str], *, programs: str) -> str:
    """A file for `source`: these variables, and our programs first on PATH."""
    lines = [
        "# The running demo, for the commands of roompool: source this file.",
        f'PATH={shlex.quote(programs)}:"$PATH"',
    ]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"
