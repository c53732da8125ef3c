"""The story of a room, for `roompool why`: what was decided about it, when, and on which facts.

The registry's scripts write their own lines in the same stream, in the same form. Facts are names and numbers of ours;
what somebody said, who somebody is, tokens and texts of peers have no place here.

A room's stream holds what concerned our agent. That the receiver ignored somebody's joining stands in one stream for
all rooms, the last 10 000 of them within a day: LiveKit may have a thousand rooms that are none of ours, and a large
audience may join one that is. So no number of them fills Redis, nor pushes a room's own story out.
"""

import hashlib
import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import structlog
from redis.exceptions import RedisError

from pool.contract import DEFAULT_PREFIX, Heard
from pool.registry.values import Times

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

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


HEARD, IGNORED = "webhook", "webhook_ignored"
"""The receiver's two events."""

MAX_IGNORED = 10_000
"""About as many ignored deliveries are remembered, of all rooms together: some 2 MB."""

IGNORED_SHOWN = 20
"""Of one room, the latest."""

READ_AT_ONCE = 1000

PLAIN_NAME_BYTES = 256
"""LiveKit's own limit. A longer name is remembered by its hash, or ten thousand of them would be 40 MB."""

FOLLOW_BLOCK_MS = 500
"""How long one command waits for new lines: shorter than an answer may take on the connections of leases (1 s)."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a story has been read: the last entry's id in each of its two streams."""

    told: str
    ignored: str


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
        try:
            await self.put(room, event, facts)
        except (RedisError, OSError) as error:
            log.warning("decision_lost", room=room, decision=event, reason=type(error).__name__)
            return False
        return True

    async def put(self, room: str, event: str, facts: Mapping[str, Fact], *, number: int = 0, late_ms: int = 0) -> None:
        """Add a line that happened `late_ms` ago. Facts called `room`, `n` or `late_ms` are left out.

        Args:
            number: Counts its carrier's lines from 1, so that one that was written twice is read once. 0: it has none.

        Raises:
            redis.exceptions.RedisError, OSError: Redis did not take it, or took it and did not say so.
        """
        key = self._key(room)
        kept = [(name, value) for name, value in facts.items() if name not in _OURS][:MAX_FACTS]
        line = {"e": event} | {name: _written(value) for name, value in kept}
        line |= {_NUMBER: str(number), _LATE_MS: str(late_ms)} if number else {}
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("XADD", key, "MAXLEN", "~", self._times.why_entries, "*", *_flat(line))
            pipeline.pexpire(key, self._times.why_ms)
            await pipeline.execute()

    async def ping(self) -> None:
        """Ask whether Redis answers.

        Raises:
            redis.exceptions.RedisError, OSError: It does not.
        """
        await cast(Awaitable[object], self._redis.ping())

    async def hear(self, heard: Sequence[Heard]) -> bool:
        """Add what the receiver has to say of deliveries, in one pipeline. Never raises; False: lost, and logged."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for one in heard:
                    self._add_heard(pipeline, one)
                pipeline.pexpire(self._ignored_key, self._times.why_ms)
                answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            log.warning("decisions_lost", number=len(heard), reason=type(error).__name__)
            return False
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        if refused:  # somebody's key of another type; the other lines were written
            log.warning("decisions_lost", number=len(refused), reason=type(refused[0]).__name__)
        return not refused

    def _add_heard(self, pipeline: "Pipeline", one: Heard) -> None:
        facts = {"delivery": one.delivery, "participant": one.participant, "reason": one.reason, "kind": one.kind}
        line = {name: _written(value) for name, value in facts.items() if value}
        if one.reason:
            line = {"e": IGNORED, "room": _mark(one.room)} | line
            pipeline.execute_command("XADD", self._ignored_key, "MAXLEN", "~", MAX_IGNORED, "*", *_flat(line))
            return
        key = self._key(one.room)
        line = {"e": HEARD} | line
        pipeline.execute_command("XADD", key, "MAXLEN", "~", self._times.why_entries, "*", *_flat(line))
        pipeline.pexpire(key, self._times.why_ms)

    async def read(self, room: str) -> list[Decision]:
        """The room's story, oldest line first; empty when nobody named the room within a day.

        Raises:
            redis.exceptions.RedisError: Redis cannot be reached or answers with an error.
        """
        return (await self.read_to(room))[0]

    async def read_to(self, room: str) -> tuple[list[Decision], Cursor]:
        """The room's story as `read` gives it, and where it ends, for `follow`. Errors as there."""
        told = await self._range(self._key(room))
        ignored, last_ignored = await self._ignored(room)
        lines = sorted([*told, *ignored], key=lambda entry: _order(entry[0]))
        cursor = Cursor(told=told[-1][0] if told else "0-0", ignored=last_ignored)
        return _in_order(lines), cursor

    async def follow(self, room: str, cursor: Cursor) -> tuple[list[Decision], Cursor]:
        """What was added to the room's story since, waiting half a second for it; perhaps nothing. Errors as `read`.

        Lines that Redis lost in between are missing, those that come after that are not. One that was late comes when
        it was written, with the time at which it happened, and may come twice.
        """
        keys = {self._key(room): cursor.told, self._ignored_key: cursor.ignored}
        streams: dict[Any, Any] = dict(keys)  # redis-py's own types are narrower than what it takes
        answer = await self._redis.xread(streams, block=FOLLOW_BLOCK_MS, count=READ_AT_ONCE)
        new: list[_Entry] = []
        for key, entries in cast(list[tuple[str, list[_Entry]]], answer):
            keys[key] = entries[-1][0]
            new += entries if key == self._key(room) else [one for one in entries if one[1].get("room") == _mark(room)]
        new.sort(key=lambda entry: _order(entry[0]))
        return _in_order(new), Cursor(keys[self._key(room)], keys[self._ignored_key])

    async def _range(self, key: str) -> list["_Entry"]:
        return await cast(Awaitable[list[_Entry]], self._redis.xrange(key))

    async def _ignored(self, room: str) -> tuple[list["_Entry"], str]:
        """The latest lines about this room, and the id of the last line about any."""
        mark, found, newest, before = _mark(room), list[_Entry](), "0-0", "+"
        for _ in range(2 * MAX_IGNORED // READ_AT_ONCE):
            entries = await cast(
                Awaitable[list[_Entry]], self._redis.xrevrange(self._ignored_key, max=before, count=READ_AT_ONCE)
            )
            if entries and before == "+":
                newest = entries[0][0]
            found += [entry for entry in entries if entry[1].get("room") == mark]
            if len(entries) < READ_AT_ONCE or len(found) >= IGNORED_SHOWN:
                break
            before = f"({entries[-1][0]}"
        return found[:IGNORED_SHOWN], newest

    @property
    def _ignored_key(self) -> str:
        return f"{self._prefix}ignored"

    def _key(self, room: str) -> str:
        return f"{self._prefix}why:{room}"


_Entry = tuple[str, dict[str, str]]

_NUMBER, _LATE_MS = "n", "late_ms"
_OURS = frozenset({"e", "room", _NUMBER, _LATE_MS})
"""Fields of a line that are no facts."""


def _mark(room: str) -> str:
    """How a room is named where all rooms are."""
    name = room.encode(errors="surrogatepass")
    return room if len(name) <= PLAIN_NAME_BYTES else f"sha256:{hashlib.sha256(name).hexdigest()}"


def _order(entry_id: str) -> tuple[int, int]:
    at, _, number = entry_id.partition("-")
    return int(at), int(number)


def _flat(line: Mapping[str, str]) -> list[str]:
    return [text for pair in line.items() for text in pair]


def _written(value: Fact) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_FACT_CHARS else text[: MAX_FACT_CHARS - 1] + "…"


def _in_order(entries: Sequence[_Entry]) -> list[Decision]:
    """As it happened, not as it was written, each line once; a carrier's own in the order of their numbers."""
    lines: list[Decision] = []
    numbered: dict[tuple[str, int], Decision] = {}
    for entry_id, fields in entries:
        line, number = _decision(entry_id, fields), fields.get(_NUMBER, "")
        if not number.isdecimal():
            lines.append(line)
            continue
        mark = (fields.get("carrier", ""), int(number))
        if mark not in numbered or line.at_unix_ms < numbered[mark].at_unix_ms:
            numbered[mark] = line
    latest: dict[str, int] = {}
    for mark in sorted(numbered):
        line, carrier = numbered[mark], mark[0]
        latest[carrier] = max(line.at_unix_ms, latest.get(carrier, 0))
        lines.append(replace(line, at_unix_ms=latest[carrier]))
    return sorted(lines, key=lambda line: line.at_unix_ms)


def _decision(entry_id: str, fields: Mapping[str, str]) -> Decision:
    facts = {name: value for name, value in fields.items() if name not in _OURS}
    late = fields.get(_LATE_MS, "")
    at_unix_ms = _order(entry_id)[0] - (int(late) if late.isdecimal() else 0)
    return Decision(at_unix_ms=at_unix_ms, event=fields.get("e", "unknown"), facts=facts)
