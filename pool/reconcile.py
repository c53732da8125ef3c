"""The guarantee behind the webhooks: what LiveKit lists, held against room state, so that a lost one costs seconds.

It adds callers, and puts out agents of ours that hold no lease. A list never ends a call by what it lacks: it is up to
5 s old, it may be empty, and a dead node's rooms stay in it; who is in the room knows better. What it has does: a newer
life of a room's name ends the older one's call, because room state keeps the newer, and tells the owner so.
"""

import asyncio
import enum
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pool.contract import DEFAULT_PREFIX, MAX_ROOM_NAME_BYTES, Arrived, RoomRules
from pool.journal import DecisionLog
from pool.registry import Noted, Rooms

log = structlog.get_logger()

PASS_LIMIT_S = 10.0
"""For a whole pass, so that the next one, here or elsewhere, still comes within the promised 12 s after a slow one."""

LOCK_MS = 11_000
"""Of a carrier that died in the middle of its pass."""

REST_MS = 1000
"""How long nobody begins another pass after one has ended, however many carriers there are."""

LOOKS_AT_ONCE = 8
YOUNG_MS = 10_000
"""LiveKit counts participants at most every 5 s: a room this young may hold somebody although it says 0."""


@dataclass(frozen=True, slots=True)
class ListedRoom:
    """A room as LiveKit lists it."""

    name: str
    sid: str
    created_unix_ms: int
    participants: int
    """Without agents, up to 5 s old."""


@dataclass(frozen=True, slots=True)
class ListedParticipant:
    """A participant as LiveKit lists them."""

    sid: str
    identity: str
    kind: str
    """LiveKit's enum name, or one it does not have for a kind we do not know."""

    is_present: bool
    """Joined, and not gone."""

    joined_unix_ms: int
    hidden: bool
    recorder: bool
    agent: bool
    can_publish: bool
    fence: int | None = None
    """By which grant of ours an agent says that it came in; None for everybody who does not, or cannot be believed."""


class RoomListFailed(Exception):
    """LiveKit's API did not answer in time, or refused: its fault, or that of the key.

    Attributes:
        reason: `http_401` and the like, `unreadable`, `not_protobuf`, `too_large`, or the kind of failure on the way
            there; never a peer's words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RoomList(Protocol):
    """LiveKit's list of rooms, of who is in one, and the door. All raise RoomListFailed."""

    async def list_rooms(self) -> list[ListedRoom]: ...
    async def list_participants(self, room: str) -> list[ListedParticipant]: ...
    async def remove_participant(self, room: str, identity: str) -> bool: ...


class Pass(enum.StrEnum):
    """How a pass went."""

    DONE = "done"
    INCOMPLETE = "incomplete"
    """Some rooms could not be looked at; the others were."""

    SKIPPED = "skipped"
    """Another carrier is at it, or was a moment ago."""

    FAILED = "failed"


def worth_a_look(listed: Sequence[ListedRoom], rules: RoomRules, *, now_unix_ms: int) -> list[ListedRoom]:
    """The rooms that may hold a caller of ours, as far as the list tells."""
    return [
        room
        for room in listed
        if (room.participants > 0 or now_unix_ms - room.created_unix_ms < YOUNG_MS)
        and room.sid
        and len(room.name.encode()) <= MAX_ROOM_NAME_BYTES
        and rules.is_wanted(room.name)
    ]


def wanted_arrivals(
    rooms: Sequence[ListedRoom], participants: Mapping[str, Sequence[ListedParticipant]], rules: RoomRules
) -> list[Arrived]:
    """What room state should know: each caller who is present in one of these rooms.

    Args:
        participants: By the room's name; a room that is missing could not be looked at.
    """
    return [
        Arrived(
            room=room.name,
            sid=room.sid,
            created_unix_ms=room.created_unix_ms,
            participant_sid=one.sid,
            joined_unix_ms=one.joined_unix_ms,
        )
        for room in rooms
        for one in participants.get(room.name, ())
        if one.is_present and rules.is_caller(one)
    ]


def ours(participants: Sequence[ListedParticipant], rules: RoomRules) -> list[ListedParticipant]:
    """Who is present under our agents' identity. Everybody else is somebody else's, whatever they are."""
    return [one for one in participants if one.is_present and one.identity == rules.agent_identity]


@dataclass(slots=True)
class _Tally:
    """What a pass did."""

    noted: int = 0
    """Callers, those known before included."""
    removed: int = 0
    failures: int = 0
    """Rooms that could not be looked at or cleared."""


class Reconciler:
    """Passes over LiveKit's list. One at a time among all carriers that share a Redis."""

    def __init__(
        self,
        redis: Redis,
        rooms: Rooms,
        listing: RoomList,
        *,
        rules: RoomRules,
        carrier_id: str,
        prefix: str = DEFAULT_PREFIX,
    ) -> None:
        self._redis = redis
        self._rooms = rooms
        self._listing = listing
        self._rules = rules
        self._carrier_id = carrier_id
        self._story = DecisionLog(redis, prefix=prefix)
        self._lock_key = f"{prefix}reconcile"

    async def reconcile_once(self) -> Pass:
        """Make one pass, unless somebody else does. Never raises for what LiveKit or Redis do; takes at most 10 s.

        Each caller is noted as soon as the room was looked at, so a pass that is cut short still was of use.
        Two passes at once (a frozen carrier woke up in the middle of one) do no harm.
        """
        try:
            return await self._take_turn()
        except Exception:  # the boundary of a pass: calls go on, and the next pass comes
            log.exception("reconcile_bug")
        return Pass.FAILED

    async def _take_turn(self) -> Pass:
        try:
            if not await self._is_my_turn():
                return Pass.SKIPPED
            try:
                async with asyncio.timeout(PASS_LIMIT_S):
                    return await self._pass()
            finally:
                await self._redis.pexpire(self._lock_key, REST_MS)
        except* (RoomListFailed, RedisError, OSError) as errors:
            cure = "check LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, and that LiveKit and Redis run"
            log.warning("reconcile_failed", error=_reasons(errors), cure=cure)
        return Pass.FAILED

    async def _is_my_turn(self) -> bool:
        for _ in range(2):
            if await self._redis.set(self._lock_key, self._carrier_id, nx=True, px=LOCK_MS):
                return True
            if 0 <= await self._redis.pttl(self._lock_key) <= LOCK_MS:
                return False
            # No carrier wrote a lock without an end, or with a later one: nobody would ever pass again.
            await self._redis.delete(self._lock_key)
        return False

    async def _pass(self) -> Pass:
        listed = await self._listing.list_rooms()
        rooms = await asyncio.to_thread(worth_a_look, listed, self._rules, now_unix_ms=int(time.time() * 1000))
        wanted = await self._rooms.unowned([(room.name, room.sid) for room in rooms])
        unowned = [room for room, is_wanted in zip(rooms, wanted, strict=True) if is_wanted]
        random.shuffle(unowned)  # in a pass that is cut short it is not always the same ones that miss their turn
        tally = await self._look_at_all(unowned)
        if tally.noted or tally.removed or tally.failures:
            log.info(
                "reconciled",
                rooms=len(listed),
                looked_at=len(unowned),
                noted=tally.noted,
                removed=tally.removed,
                failures=tally.failures,
            )
        return Pass.INCOMPLETE if tally.failures else Pass.DONE

    async def _look_at_all(self, rooms: Sequence[ListedRoom]) -> _Tally:
        """Look at the rooms, a few at a time."""
        todo = iter(rooms)
        tally = _Tally()
        async with asyncio.TaskGroup() as group:
            for number in range(min(LOOKS_AT_ONCE, len(rooms))):
                group.create_task(self._look_at_each(todo, tally), name=f"reconcile_{number}")
        return tally

    async def _look_at_each(self, todo: Iterator[ListedRoom], tally: _Tally) -> None:
        for room in todo:
            try:
                participants = await self._listing.list_participants(room.name)
                noted = await self._note_callers(room, participants)
                removed = await self._clear(room, participants)
            except RoomListFailed:
                tally.failures += 1
                continue
            tally.noted += noted
            tally.removed += removed

    async def _note_callers(self, room: ListedRoom, participants: Sequence[ListedParticipant]) -> int:
        arrivals = wanted_arrivals([room], {room.name: participants}, self._rules)
        answers = [await self._rooms.note(arrived) for arrived in arrivals]
        if Noted.WAITING in answers:  # it was not before, or we would not have looked
            await self._story.append(room.name, "found_in_list", callers=len(arrivals))
        return len(arrivals)

    async def _clear(self, room: ListedRoom, participants: Sequence[ListedParticipant]) -> int:
        """Put out who is there as our agent without a lease, once the registry says so; returns how many.

        LiveKit removes by identity. Between the registry's word and the removal the room may be claimed, but a new
        owner needs longer to join than the removal takes.
        """
        strays = [
            one
            for one in ours(participants, self._rules)
            if await self._rooms.stray(room.name, room.sid, one.sid, one.fence)
        ]
        if not strays or not await self._listing.remove_participant(room.name, self._rules.agent_identity):
            return 0
        for one in strays:
            log.warning("stray_removed", room=room.name, participant=one.sid, fence=one.fence)
            await self._story.append(room.name, "stray_removed", carrier=self._carrier_id, fence=one.fence or "")
        return len(strays)


def _reasons(errors: BaseExceptionGroup[BaseException]) -> str:
    """Why, for the log: kinds of errors, without their texts."""
    reasons = set()
    for error in errors.exceptions:
        match error:
            case BaseExceptionGroup():
                reasons.add(_reasons(error))
            case RoomListFailed(reason=reason):
                reasons.add(f"livekit {reason}")
            case _:
                reasons.add(type(error).__name__)
    return ", ".join(sorted(reasons))
