"""What the programs' own log lines say of a room: when its webhook was accepted, who claimed it, how its call ended.

Times are those the program itself wrote down, brought to this process's monotonic clock: the moment at which we come to
read a line says more about us than about it.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from deploy.local.processes import Child, LogLine, NeverSaid, ProcessEnded
from deploy.local.stack import Stack

SAID_S = 5.0
"""How much later than the event itself a line about it may reach us."""

ERROR_LEVELS = frozenset({"error", "critical"})


def said_at(line: LogLine, *, now: float, unix_now: float) -> float:
    """When a line was written, on the clock of `now`; never later than it was read."""
    try:
        written_unix = datetime.fromisoformat(str(line.facts["timestamp"])).timestamp()
    except (KeyError, ValueError):
        return line.read_at
    return min(line.read_at, now - (unix_now - written_unix))


def clock(line: LogLine) -> float:
    """`said_at` by this machine's clocks."""
    return said_at(line, now=time.monotonic(), unix_now=time.time())


def webhook_of(stack: Stack, room: str) -> tuple[float, float] | None:
    """When the first delivery that told of a caller in this room came, and how many milliseconds accepting it took."""
    said = stack.webhook.events("delivery", room=room, livekit_event="participant_joined", outcome="accepted")
    if not said:
        return None
    took_ms = float(said[0].facts.get("duration_ms", 0.0))
    return clock(said[0]) - took_ms / 1000, took_ms


def holder_of(stack: Stack, room: str) -> Child | None:
    """The worker that claimed this room last and still runs."""
    claims = [(line.read_at, worker) for worker in stack.workers for line in worker.events("claimed", room=room)]
    worker = max(claims, key=lambda claim: claim[0])[1] if claims else None
    return worker if worker and worker.exit_code is None else None


def claimers_of(stack: Stack, room: str) -> list[str]:
    """The names of the workers that claimed this room, in that order."""
    claims = [(line.read_at, worker.name) for worker in stack.workers for line in worker.events("claimed", room=room)]
    return [name for _, name in sorted(claims)]


def errors_in(children: Sequence[Child]) -> list[str]:
    """`process: event` for each line of level error or worse."""
    return [
        f"{child.name}: {line.event or line.text[:80]}"
        for child in children
        for line in child.lines()
        if line.facts.get("level") in ERROR_LEVELS
    ]


async def first_said(
    children: Sequence[Child], event: str, *, timeout_s: float = SAID_S, **facts: Any
) -> tuple[Child, LogLine] | None:
    """The process that says this first, and the line; None when none of them does in time."""

    async def said(child: Child) -> tuple[Child, LogLine] | None:
        try:
            return child, await child.wait_event(event, timeout_s=timeout_s, **facts)
        except (NeverSaid, ProcessEnded):
            return None

    found = None
    async with asyncio.TaskGroup() as group:
        waiting = {group.create_task(said(child), name=f"listen to {child.name}") for child in children}
        while waiting and found is None:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            found = next((task.result() for task in done if task.result()), None)
        for task in waiting:
            task.cancel()
    return found
