"""What machine the figures are of. Without it they say nothing."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Self

from deploy.local.valkey import NoValkey, find_binary

ASK_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine on one day."""

    date: str
    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    livekit: str
    livekit_server: str
    valkey: str
    load: float
    """Processes that wanted a core, averaged over the last minute before it was asked."""

    @classmethod
    def here(cls, binary: Path) -> Self:
        """This one, now."""
        return cls(
            date=date.today().isoformat(),
            processor=_field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            livekit=version("livekit"),
            livekit_server=_version_of(binary).rpartition(" ")[2],
            valkey=_valkey(),
            load=round(os.getloadavg()[0], 1),
        )

    def __str__(self) -> str:
        return (
            f"{self.date}, {self.cores} cores of {self.processor}, {self.memory_gib} GiB, {self.system}, Python "
            f"{self.python}, livekit {self.livekit}, livekit-server {self.livekit_server}, Valkey {self.valkey}; "
            f"load at the end {self.load}"
        )


def _field(path: Path, name: str) -> str:
    """A field of a file of `name : value` lines; empty where there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _version_of(binary: Path) -> str:
    """The first line of what it says of itself."""
    done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=False, timeout=ASK_LIMIT_S)
    return (done.stdout.splitlines() or ["unknown"])[0].strip()


def _valkey() -> str:
    """Of `Valkey server v=9.0.1 sha=…` the number."""
    try:
        words = _version_of(find_binary()).split()
    except NoValkey:
        return "none"
    return next((word.removeprefix("v=") for word in words if word.startswith("v=")), "unknown")
