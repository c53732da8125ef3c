"""What the profile came to, for a person and for a program. Pure."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.local.profile.options import Options
from deploy.local.profile.stacks import Function, Profile
from deploy.local.profile.threads import Share

SHOWN = 25
"""Functions, and native ones as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Both looks at the carrier.

    Attributes:
        profile: None where py-spy may not look; `problem` says why then.
        is_native: Whether it saw native stacks.
    """

    options: Options
    threads: Sequence[Share]
    profile: Profile | None = None
    is_native: bool = False
    problem: str = ""

    @property
    def percent(self) -> float:
        """Of a core, all threads together."""
        return sum(share.percent for share in self.threads)


def as_json(report: Report) -> str:
    """All of it."""
    figures = dataclasses.asdict(report) | {
        "percent": report.percent,
        "percent_a_call": report.percent / report.options.calls,
    }
    return json.dumps(figures, indent=2)


def as_text(report: Report) -> str:
    """Tables, the largest shares first."""
    options = report.options
    state = "speaking" if options.speaking else "silent"
    lines = [
        f"One carrier, {options.calls} calls, the agent {state}, {options.seconds:g} s: "
        f"{report.percent:.1f} % of a core, {report.percent / options.calls:.2f} % a call",
        "",
        f"{'thread':<20} {'number':>6} {'user %':>7} {'system %':>9} {'all %':>7}",
    ]
    for share in report.threads:
        lines.append(
            f"{share.name:<20} {share.threads:>6} {share.user_percent:>7.2f} {share.system_percent:>9.2f} "
            f"{share.percent:>7.2f}"
        )
    if report.profile is None:
        return "\n".join([*lines, "", f"Functions cannot be told here. {report.problem}"])
    beneath = ", with the native code that they call" if report.is_native else ""
    seen = f"{report.profile.samples} samples of work, beside {report.profile.waiting} of waiting"
    lines += ["", f"Python functions by own time{beneath}: {seen}"]
    lines += _functions(report.profile.python)
    if report.profile.native:
        lines += ["", "native functions by own time, in threads that run Python"]
        lines += _functions(report.profile.native)
    return "\n".join(lines)


def _functions(functions: Sequence[Function]) -> list[str]:
    return [f"{one.percent:>6.1f} %  {one.name}  {one.place}".rstrip() for one in functions[:SHOWN]]
