"""Seeing a call into LiveKit's SDK through to its end, also when the waiting task is cancelled.

A cancelled `Room.connect` leaves the native core waiting for a word that never comes; fifteen seconds later it panics,
and the SDK answers a panic by sending SIGTERM to its own process: every call of the carrier would end. A cancelled
publish can freeze the room's events, a cancelled capture makes the next one fail. So none of them is ever cancelled.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from bridge.metrics import ABANDONED_SDK_CALLS

log = structlog.get_logger()
T = TypeVar("T")

_abandoned: "set[asyncio.Task[Any]]" = set()
"""Keeps given-up calls alive: asyncio itself holds tasks by weak references, and a collected one is a cancelled one."""


async def see_through(
    call: Coroutine[Any, Any, T], *, name: str, limit_s: float, begun: Callable[[], None] | None = None
) -> T:
    """Run `call` to its end and return what it returns.

    `begun` is called when the call first waits, or has ended: by then the SDK was given what it was asked to take.

    A cancellation is held back until the call has ended, then raised. After `limit_s` seconds the call is left alone,
    counted, and TimeoutError is raised; it is still not cancelled.

    The task is a plain one because a TaskGroup would cancel it, which is what must not happen; its owner is this
    function, which does not return before it has ended, or has been given up.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(call, name=name)
    if begun is not None:
        loop.call_soon(begun)  # after the task's first step, which was scheduled before it
    deadline_at = loop.time() + limit_s
    cancelled: asyncio.CancelledError | None = None
    while not task.done() and (left_s := deadline_at - loop.time()) > 0:
        try:
            await asyncio.wait({task}, timeout=left_s)
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.done():
        ABANDONED_SDK_CALLS.inc()
        log.error("sdk_call_abandoned", call=name, limit_s=limit_s)
        _abandoned.add(task)
        task.add_done_callback(_ignore)
    if cancelled is not None:
        if task.done():
            _ignore(task)
        raise cancelled
    if not task.done():
        raise TimeoutError(name)
    return task.result()


def _ignore(task: "asyncio.Task[Any]") -> None:
    """Take an abandoned result, so that asyncio does not report it as forgotten."""
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()
