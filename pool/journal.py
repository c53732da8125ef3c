"""The story of a room, for `roompool why`: what was decided about it, when, and on which facts.

The registry's scripts write their own lines in the same stream, in the same form. Facts are names and numbers of ours;
what somebody said, who somebody is, tokens and texts of peers have no place here.
"""

import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import structlog
from redis.exceptions import RedisError

from pool.contract import DEFAULT_PREFIX
from pool.registry.values import Times

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger()

Fact = str | int | float | bool | None

MAX_FACTS = 16
MAX_FACT_CHARS = 200
"""A fact is a name or a number. What is longer is cut: the log is small, and lives in everybody's Redis."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of a room's story."""

    at_unix_ms: int
    event: str
    facts: Mapping[str, str]


class DecisionLog:
    """Appends to and reads the bounded streams of rooms. Safe to share between tasks."""

    def __init__(self, redis: "Redis", *, prefix: str = DEFAULT_PREFIX, times: Times = Times()) -> None:  # noqa: B008
        self._redis = redis
        self._prefix = prefix
        self._times = times

    async def append(self, room: str, event: str, **facts: Fact) -> bool:
        """Add a line. Never raises into a call: one that Redis does not take is logged and lost, and the answer False.

        Cancelled, the line may or may not have been written.
        """
        key = self._key(room)
        kept = list(facts.items())[:MAX_FACTS]
        line = {"e": event} | {name: _written(value) for name, value in kept if name != "e"}
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.execute_command("XADD", key, "MAXLEN", "~", self._times.why_entries, "*", *_flat(line))
                pipeline.pexpire(key, self._times.why_ms)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            log.warning("decision_lost", room=room, decision=event, reason=type(error).__name__)
            return False
        return True

    async def read(self, room: str) -> list[Decision]:
        """The room's story, oldest line first; empty when nobody named the room within a day.

        Raises:
            redis.exceptions.RedisError: Redis cannot be reached or answers with an error.
        """
        entries = await cast(Awaitable[list[tuple[str, dict[str, str]]]], self._redis.xrange(self._key(room)))
        return [_decision(entry_id, fields) for entry_id, fields in entries]

    def _key(self, room: str) -> str:
        return f"{self._prefix}why:{room}"


def _flat(line: Mapping[str, str]) -> list[str]:
    return [text for pair in line.items() for text in pair]


def _written(value: Fact) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_FACT_CHARS else text[: MAX_FACT_CHARS - 1] + "…"


def _decision(entry_id: str, fields: Mapping[str, str]) -> Decision:
    facts = {name: value for name, value in fields.items() if name != "e"}
    return Decision(at_unix_ms=int(entry_id.partition("-")[0]), event=fields.get("e", "unknown"), facts=facts)
