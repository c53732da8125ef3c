"""Which event loop a process runs on."""

import asyncio
import sys
from collections.abc import Callable


def loop_factory(*, is_fast: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where there is one and it is wanted; None for Python's own."""
    if not is_fast or sys.platform == "win32":
        return None
    import uvloop  # takes memory, which a process that does not want it can do without

    return uvloop.new_event_loop
