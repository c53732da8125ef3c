"""What a worker costs: the memory and the processor of a process and of all that descend from it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.proc_stat import Stat, parent_of


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all processes together, at one moment.

    Attributes:
        pss_mb: Resident memory, a page that several processes share counted in parts.
        cpu_s: Seconds of a core used since each began.
    """

    processes: int
    pss_mb: float
    cpu_s: dict[int, float]

    def cpu_percent_since(self, before: "Cost", *, seconds: float) -> float:
        """Percent of one core between two moments, of the processes that were there at both or began between them."""
        return 100 * sum(used - before.cpu_s.get(pid, 0.0) for pid, used in self.cpu_s.items()) / seconds


def cost_of(root: int) -> Cost:
    """What it comes to now. A process that ends meanwhile counts for nothing."""
    pss_kb, cpu_s = 0.0, {}
    for pid in tree_of(root):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            cpu_s[pid] = Stat.of(pid).cpu_s
        except OSError:
            continue
        pss_kb += next(float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return Cost(len(cpu_s), pss_kb / 1024, cpu_s)


def tree_of(root: int) -> Iterable[int]:
    """The process and every descendant that lives."""
    parents = {int(name): parent_of(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    found, new = {root}, {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found
