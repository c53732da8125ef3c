"""py-spy beside a process: what it recorded, or why it could not."""

import asyncio
import contextlib
import shutil
import sys
from pathlib import Path

from deploy.local.profile.stacks import Profile, parse

RATE_PER_S = 100
LATE_S = 60.0
"""More than py-spy needs to read the symbols of a large library, and to write what it saw."""


class CannotTrace(Exception):
    """This machine, or this user, may not look into another process; or py-spy is missing. The text says which."""


async def record(pid: int, *, seconds: float, run_dir: Path) -> tuple[Profile, bool]:
    """What py-spy sees of a process; and whether with native stacks.

    Raises:
        CannotTrace: Neither with native stacks nor without.
    """
    try:
        return await _record(pid, seconds, run_dir / "native.txt", "--native"), True
    except CannotTrace:  # it cannot on every processor, nor read every library
        return await _record(pid, seconds, run_dir / "python.txt"), False


async def _record(pid: int, seconds: float, path: Path, *options: str) -> Profile:
    words = ["record", "--pid", str(pid), "--duration", f"{max(round(seconds), 1)}", "--rate", str(RATE_PER_S)]
    words += ["--format", "raw", "--threads", "--output", str(path), *options]
    process = await asyncio.create_subprocess_exec(
        str(_py_spy()),
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds + LATE_S):
            _, said = await process.communicate()
    except TimeoutError:
        raise CannotTrace(f"py-spy did not end within {seconds + LATE_S:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        raise CannotTrace(f"py-spy: {lines[0] if lines else f'exit code {process.returncode}'}")
    return await asyncio.to_thread(lambda: parse(path.read_text(errors="replace")))


def _py_spy() -> Path:
    beside = Path(sys.executable).with_name("py-spy")
    found = beside if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise CannotTrace("py-spy is not installed here")
    return Path(found)
