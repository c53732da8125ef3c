"""The two jobs of the queue, and which queue entries are no job at all.

A job is a wake-up and returns within 50 ms: the call it leads to lives in a task of the carrier.
"""

import enum
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from pool.contract import JOB_PARTICIPANT_JOINED, JOB_ROOM_FINISHED, JOB_VERSION, NotAJob, load_job, parse_job_payload

Job = Callable[[Mapping[str, Any], object], Awaitable[None]]
"""What arq calls: its own dictionary, and the payload."""


class Wakeable(Protocol):
    """What the jobs ask of the process they run in."""

    async def wake(self) -> None:
        """Claim the longest waiting room, if there is one and a slot for it. Does not wait for the call."""

    async def room_finished(self, room: str) -> None:
        """Look at once whether this room, if it is ours, is over."""


async def participant_joined(ctx: Mapping[str, Any], payload: object) -> None:
    """Somebody waits: claim what has waited longest, which need not be the room that the payload names."""
    parse_job_payload(payload)
    carrier: Wakeable = ctx["carrier"]
    await carrier.wake()


async def room_finished(ctx: Mapping[str, Any], payload: object) -> None:
    """A room is over: its owner looks at once; on any other carrier this changes nothing."""
    room = parse_job_payload(payload)
    carrier: Wakeable = ctx["carrier"]
    await carrier.room_finished(room)


JOBS: Mapping[str, Job] = {JOB_PARTICIPANT_JOINED: participant_joined, JOB_ROOM_FINISHED: room_finished}


class SetAside(enum.StrEnum):
    """Why a queue entry was not run. Whoever wrote it is at fault, save `EXPIRED`."""

    MALFORMED = "malformed"
    """Not JSON, not a job of arq's shape, or not our payload."""

    UNKNOWN_FUNCTION = "unknown_function"
    NEWER_VERSION = "newer_version"
    """Sent by a newer release, and not guessed at. Nothing is lost: a sweep finds the room without it."""

    WRONG_TYPE = "wrong_type"
    """The Redis key of the job holds no string, or its name is no text."""

    BROKE_THE_QUEUE = "broke_the_queue"
    """Passed every check, and still the queue's own code failed on it."""

    EXPIRED = "expired"
    """Nobody took it for a minute (no worker, or Redis was away): nothing is lost, room state still knows."""


def why_set_aside(raw: bytes, known: Collection[str]) -> SetAside | None:
    """Why these bytes are no job for us, or None if they are one.

    Args:
        raw: The job's body as arq stored it.
        known: The names of the functions this worker runs.

    Stricter than arq, which runs some malformed jobs into an exception that ends the whole worker
    (a function name that is a list, a try count that is text), and meets the same job again after the restart.
    """
    try:
        job = load_job(raw)
    except (NotAJob, RecursionError):  # json gives up on deep nesting with the latter
        return SetAside.MALFORMED
    match job:
        case {"f": str(name), "a": [payload], "k": {**named}, "t": None | int(), "et": int(enqueued_unix_ms)}:
            if named or not 0 <= enqueued_unix_ms < 1 << 43:  # arq makes a date of it, and dates end in year 9999
                return SetAside.MALFORMED
        case _:
            return SetAside.MALFORMED
    if name not in known:
        return SetAside.UNKNOWN_FUNCTION
    return _why_not_a_payload(payload)


def _why_not_a_payload(payload: object) -> SetAside | None:
    match payload:
        case {"v": int(version)} if version > JOB_VERSION:
            return SetAside.NEWER_VERSION
    try:
        parse_job_payload(payload)
    except NotAJob:
        return SetAside.MALFORMED
    return None
