"""What `/proc` tells of a process or a thread in its `stat` file. Linux alone has one."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Stat:
    """One `stat` file.

    Attributes:
        state: One letter; `Z` and `X` are dead.
        user_ticks, system_ticks: Of all the process's threads together, or of the one thread whose file it is.
    """

    name: str
    state: str
    parent: int
    user_ticks: int
    system_ticks: int

    @classmethod
    def parse(cls, line: str) -> Self:
        """A name may hold anything, brackets and blanks too."""
        head, _, tail = line.rpartition(")")
        fields = tail.split()
        return cls(head.partition("(")[2], fields[0], int(fields[1]), int(fields[11]), int(fields[12]))

    @classmethod
    def of(cls, pid: int) -> Self:
        """A process, as it is now.

        Raises:
            OSError: There is no such process, or no `/proc`.
        """
        return cls.parse(Path(f"/proc/{pid}/stat").read_text(errors="replace"))

    @property
    def cpu_s(self) -> float:
        """Seconds of a core used since it began."""
        return (self.user_ticks + self.system_ticks) / os.sysconf("SC_CLK_TCK")


def parent_of(pid: int) -> int:
    """The parent's process id, 0 when there is no such process (any more)."""
    try:
        return Stat.of(pid).parent
    except OSError:
        return 0
