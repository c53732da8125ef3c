"""How many CPUs this process may use, as the kernel's affinity and its control group's quota say."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOST_CARRIERS = 4
"""By default. More processes for one orchestrator to end at once lose more calls when one machine goes."""

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def default_carriers(*, affinity: int, quota: float | None) -> int:
    """One carrier for each whole CPU that may be used, at least one and at most `MOST_CARRIERS`. Pure.

    Args:
        affinity: CPUs that the scheduler may put the process on.
        quota: CPUs' worth of time that its control group grants; None: no limit. A part of a CPU gets no carrier:
            two that share one CPU make each other late.
    """
    cpus = affinity if quota is None else min(affinity, int(quota))
    return max(1, min(MOST_CARRIERS, cpus))


def affinity() -> int:
    """CPUs that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(*, cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> float | None:
    """The smallest quota of this process's control groups and all above them, in CPUs; None where there is none.

    Both versions of control groups are looked at. Inside a container the names in `own` may be those of the host:
    what is not found under a name is looked for further up, down to the place where the container sees its own.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    found = [value for line in lines for value in _quotas(cgroups, line)]
    return min(found, default=None)


def quota_v2(cpu_max: str) -> float | None:
    """`cpu.max`: microseconds of CPU time, or "max", and the period they are for."""
    match cpu_max.split():
        case [granted, period] if granted.isdigit() and period.isdigit() and int(period) > 0:
            return int(granted) / int(period)
        case _:
            return None


def quota_v1(quota_us: str, period_us: str) -> float | None:
    """`cpu.cfs_quota_us`, -1 for no limit, and `cpu.cfs_period_us`."""
    return quota_v2(f"{quota_us.strip()} {period_us.strip()}")


def _quotas(cgroups: Path, line: str) -> Iterator[float]:
    """Of one line of /proc/self/cgroup, `number:controllers:path`; that of version 2 names no controllers."""
    _, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if not controllers:
        for folder in _upwards(cgroups, path):
            if (value := quota_v2(_read(folder / "cpu.max"))) is not None:
                yield value
    elif "cpu" in controllers.split(","):
        for name in ("cpu", controllers):
            for folder in _upwards(cgroups / name, path):
                value = quota_v1(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))
                if value is not None:
                    yield value


def _upwards(root: Path, path: str) -> list[Path]:
    below = PurePosixPath(path).relative_to("/") if path.startswith("/") else PurePosixPath(path)
    return [root / part for part in (below, *below.parents)]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
