"""Whether processes are still there, asked from outside."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path


def is_alive(pid: int) -> bool:
    """True while the process exists and is no zombie (its parent may be gone, and nobody may reap it here)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


async def until_gone(pids: Iterable[int], *, within_s: float = 20.0) -> None:
    """Wait until none of these processes is alive.

    Raises:
        AssertionError: Some still are after `within_s`; the text names them.
    """
    deadline = time.monotonic() + within_s
    left = list(pids)
    while left := [pid for pid in left if is_alive(pid)]:
        assert time.monotonic() < deadline, f"still alive after {within_s} s: {left}"
        await asyncio.sleep(0.02)
