"""The CPU of a process by thread name, from what Linux counts in `/proc`. Pure, but for `read`."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.proc_stat import Stat

MAIN = "(main thread)"
"""The one with the event loop: it has the program's name, as others that it started have."""

ENDED = "(ended meanwhile)"
"""Threads that were gone when we looked again: only the process has their time, and not how it was divided."""

_NUMBER_AT_THE_END = re.compile(r"[-_ #]*\d+$")


class NoSuchProcess(Exception):
    """It is gone, or this system has no `/proc`."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """CPU time of a thread or of a process, in the kernel's ticks."""

    name: str
    user: int
    system: int

    @property
    def both(self) -> int:
        return self.user + self.system


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A process at one moment."""

    at_s: float
    pid: int
    whole: Ticks
    threads: Mapping[int, Ticks]


@dataclass(frozen=True, slots=True)
class Share:
    """What threads of one name used between two moments, in percent of a core."""

    name: str
    threads: int
    user_percent: float
    system_percent: float

    @property
    def percent(self) -> float:
        return self.user_percent + self.system_percent


def parse_stat(line: str) -> Ticks:
    """One line of a `stat` file of `/proc`."""
    stat = Stat.parse(line)
    return Ticks(stat.name, stat.user_ticks, stat.system_ticks)


def shares(before: Snapshot, after: Snapshot, *, ticks_per_s: int) -> list[Share]:
    """What each name used in between, the most first."""
    ticks_a_percent = (after.at_s - before.at_s) * ticks_per_s / 100
    grouped: dict[str, list[Ticks]] = {}
    for tid, now in after.threads.items():
        name = MAIN if tid == after.pid else group_name(now.name)
        grouped.setdefault(name, []).append(_since(before.threads.get(tid), now))
    found = [
        Share(
            name,
            len(several),
            sum(ticks.user for ticks in several) / ticks_a_percent,
            sum(ticks.system for ticks in several) / ticks_a_percent,
        )
        for name, several in grouped.items()
    ]
    if gone := before.threads.keys() - after.threads.keys():
        listed = sum(ticks.both for several in grouped.values() for ticks in several)
        unlisted = max(_since(before.whole, after.whole).both - listed, 0)
        found.append(Share(ENDED, len(gone), unlisted / ticks_a_percent, 0.0))
    return sorted(found, key=lambda share: -share.percent)


def group_name(name: str) -> str:
    """A thread's name without the number that tells it from its siblings."""
    return _NUMBER_AT_THE_END.sub("", name) or name


def read(pid: int, *, now_s: float) -> Snapshot:
    """Look at a process. A thread that ends while we look is left out.

    Raises:
        NoSuchProcess: There is none.
    """
    folder = Path(f"/proc/{pid}")
    threads: dict[int, Ticks] = {}
    try:
        for task in os.listdir(folder / "task"):
            try:
                threads[int(task)] = parse_stat((folder / "task" / task / "stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return Snapshot(now_s, pid, parse_stat((folder / "stat").read_text(errors="replace")), threads)
    except OSError as error:
        raise NoSuchProcess(f"process {pid} cannot be looked at: {error.strerror}") from error


def _since(before: Ticks | None, after: Ticks) -> Ticks:
    if before is None:
        return after
    return Ticks(after.name, after.user - before.user, after.system - before.system)
