"""Typed calls over room state. Each is one Lua script and one round trip; what it promises stands in the script's head.

Every call raises `redis.exceptions.RedisError` (or its `ConnectionError`, `TimeoutError`) when Redis cannot be reached
in time or answers with an error; the script then may or may not have run. Corrupt room state never raises.
Cancelled, a call may or may not have run; the connection is dropped, never given to the next call half-read.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, assert_never, cast

from pool.contract import DEFAULT_PREFIX, Arrived, Finished, Left, Note, Opened
from pool.registry.scripts import load
from pool.registry.values import (
    Again,
    Due,
    Gone,
    Grant,
    HangUp,
    Held,
    NoGrant,
    Noted,
    Offer,
    Offered,
    Release,
    Renewal,
    Rested,
    RoomState,
    RoomSummary,
    Standing,
    Times,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

ARRIVE, EXPECT, LEAVE, FINISH = load("arrive"), load("expect"), load("leave"), load("finish")
CLAIM_NEXT, RENEW, RELEASE, DUE = load("claim_next"), load("renew"), load("release"), load("due")
REMEMBER, OFFER, OFFERED, STAND_READY = load("remember"), load("offer"), load("offered"), load("stand_ready")
DECLINE, WITHDRAW, PASS_ON = load("decline"), load("withdraw"), load("pass_on")
HANGUP, STRAY = load("hangup"), load("stray")
LOOK, ROOMS, UNOWNED, RETRY = load("look"), load("rooms"), load("unowned"), load("retry")

MAX_UNIX_MS = 99_999_999_999_999
"""14 digits, the year 5138: what cjson stores without loss."""

PASS_BLOCK_S = 0.5
"""How long one command waits for a pass: shorter than an answer may take on the connections of leases (1 s)."""

STRANGER_S = 0.05
"""Between two looks where a stranger's text lies in the place of the grant, so that nobody spins on it."""

UNOWNED_AT_ONCE = 200
"""Rooms asked about in one script, so that a long list does not hold Redis up."""


class Rooms:
    """Room state in Redis. Holds no state of its own; safe to share between tasks.

    Args:
        redis: A client with `decode_responses=True`, best one from `lease_redis`.
        now_ms: Replaces Redis' clock, for tests that cannot wait.
    """

    def __init__(
        self,
        redis: "Redis",
        *,
        prefix: str = DEFAULT_PREFIX,
        times: Times = Times(),  # noqa: B008 (frozen)
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._times = times
        self._times_json = json.dumps(asdict(times))
        self._now_ms = now_ms

    async def note(self, note: Note) -> Noted:
        """Store what is known about a room. The same note twice, late or out of order does no harm."""
        match note:
            case Arrived(room, sid, created, participant, joined):
                answer = await ARRIVE.run(
                    self._redis, *self._common(), room, sid, _stored_ms(created), participant, _stored_ms(joined)
                )
            case Opened(room, sid, created):
                answer = await EXPECT.run(self._redis, *self._common(), room, sid, _stored_ms(created))
            case Left(room, sid, participant):
                answer = await LEAVE.run(self._redis, *self._common(), room, sid, participant)
            case Finished(room, sid):
                answer = await FINISH.run(self._redis, *self._common(), room, sid)
            case _:
                assert_never(note)
        return Noted(answer)

    async def claim_next(self, carrier: str, *, capacity: int) -> Grant | NoGrant:
        """Grant the room that has waited longest among those this carrier may have, or say why not.

        The number of rooms the carrier owns never passes `capacity`, by what Redis knows. After loss of Redis' data it
        knows less than the carrier until that has renewed, so a carrier asks only when it has a slot itself.
        """
        answer = await CLAIM_NEXT.run(self._redis, *self._common(), carrier, capacity)
        return NoGrant(answer[0]) if answer[0] != "granted" else self._grant(answer)

    async def renew(self, carrier: str, held: Sequence[Held]) -> list[Renewal | Exception]:
        """Extend the leases of all rooms a carrier holds, in one pipeline. Answers stand in the order of `held`.

        An exception in the list is Redis' error reply for that room alone: whether it was extended is not known.
        """
        if not held:
            return []
        calls = [
            (
                *self._common(),
                carrier,
                one.room,
                one.sid,
                _stored_ms(one.created_unix_ms),
                one.fence,
                _callers_json(one.callers),
            )
            for one in held
        ]
        answers = await RENEW.run_each(self._redis, calls)
        return [answer if isinstance(answer, Exception) else Renewal(answer) for answer in answers]

    async def release(self, carrier: str, room: str, fence: int, how: Release) -> bool:
        """Give a room up. False, and nothing changes, when it is not this carrier's under this fence any more."""
        match how:
            case Again(failed, counts, bar_ms):
                verb, served = ("failed" if counts else "excused") if failed else "again", "{}"
            case Rested(whom):
                verb, served, bar_ms = "rested", _callers_json(whom), 0
            case Gone(whom):
                verb, served, bar_ms = "gone", _callers_json(whom), 0
            case _:
                assert_never(how)
        answer = await RELEASE.run(self._redis, *self._common(), carrier, room, fence, verb, served, bar_ms)
        return bool(answer)

    async def remember(self, carrier: str, room: str, fence: int, turns: Sequence[str]) -> bool:
        """Note what was said, for the next owner. False, and nothing changes, when not this owner's under this fence.

        Kept are the last 40 texts and 8 KiB of them; what is older goes. Gone `Times.memory_ms` after the last renewal
        of the room, and at once when its call ends well.
        """
        return bool(await REMEMBER.run(self._redis, *self._common(), carrier, room, fence, *turns))

    async def offer(self, carrier: str, room: str, fence: int) -> Offered:
        """Ask for somebody to stand by for a room we own; asked again, how far that is.

        Who is asked keeps a slot for it: until it declines, `Times.offer_ms` have passed, we pass or withdraw, or the
        room is not ours any more.
        """
        taker, ready = await OFFER.run(self._redis, *self._common(), carrier, room, fence)
        return Offered(next=taker or None, ready=bool(ready))

    async def stand_ready(self, carrier: str, room: str, fence: int) -> bool:
        """Say that we, asked to stand by, could go on this instant. False: the offer is gone, give up.

        Args:
            fence: The present owner's, as the offer had it.
        """
        return bool(await STAND_READY.run(self._redis, *self._common(), carrier, room, fence))

    async def decline(self, carrier: str, room: str, fence: int, *, bar_ms: int = 0) -> bool:
        """Give back the slot we keep for a room; for `bar_ms` we are not asked for it again. False: it was gone."""
        return bool(await DECLINE.run(self._redis, *self._common(), carrier, room, fence, bar_ms))

    async def withdraw(self, carrier: str, room: str, fence: int) -> bool:
        """Take back the offer of a room we own. False when there is none."""
        return bool(await WITHDRAW.run(self._redis, *self._common(), carrier, room, fence))

    async def pass_on(self, carrier: str, room: str, fence: int) -> int | None:
        """Hand a room we own to who stands ready; the next owner's fence. None, and nothing changes: not possible."""
        answer = await PASS_ON.run(self._redis, *self._common(), carrier, room, fence)
        return int(answer[0]) if answer else None

    async def await_pass(self, carrier: str, room: str, fence: int, *, limit_s: float) -> Grant | None:
        """Wait until the room we stand by for is ours. None: `limit_s` have passed, or the offer is gone.

        The lease began with the pass, so renew before you join. Called again, also after an error or a cancellation,
        it answers the same grant until `Times.pass_ms` after the pass. It occupies one connection while it waits.

        Args:
            fence: The present owner's, as the offer had it.
        """
        key = f"{self._prefix}passed:{carrier}:{room}:{fence}"
        ends_at = time.monotonic() + limit_s
        while True:
            is_offered = await OFFERED.run(self._redis, *self._common(), carrier, room, fence)
            left_s = min(ends_at - time.monotonic(), PASS_BLOCK_S)
            answer = await self._first_of(key, limit_s=left_s if is_offered else 0.0)
            if answer is not None:
                try:
                    return self._grant(json.loads(answer))
                except (ValueError, TypeError, AttributeError, RecursionError):  # a stranger's: the pass drops it
                    await asyncio.sleep(STRANGER_S)
            if not is_offered or left_s <= 0:
                return None

    async def hangup(self, room: str) -> HangUp:
        """End the call in a room, as a person wishes. Whoever joins later is served."""
        return HangUp(await HANGUP.run(self._redis, *self._common(), room))

    async def stray(self, room: str, sid: str, participant_sid: str, participant_fence: int | None) -> bool:
        """Report a participant with our identity; whether it must be put out.

        It must when nobody has held the room since it was reported 4 to 60 s ago, Redis was not away of late, and it
        is not the last owner, cut off from Redis and holding out.
        """
        shown = "" if participant_fence is None else participant_fence
        return bool(await STRAY.run(self._redis, *self._common(), room, sid, participant_sid, shown))

    async def due(self, limit: int = 50, *, carrier: str = "") -> Due:
        """Look at rooms whose time has come (a lease, back-off or grace ended), and at what `carrier` is asked."""
        claimable, offers = await DUE.run(self._redis, *self._common(), limit, carrier)
        return Due(int(claimable), tuple(_offer(json.loads(offer), memory) for offer, memory in offers))

    async def look(self, room: str) -> RoomState | None:
        """One room as it stands, or None when Redis knows nothing of it."""
        answer = json.loads(await LOOK.run(self._redis, *self._common(), room))
        return _room_state(answer) if "standing" in answer else None

    async def rooms(self, limit: int = 200) -> list[RoomSummary]:
        """Rooms that wait (longest first), are owned, are held back, or quarantined; at most `limit` of each sort."""
        answers = await ROOMS.run(self._redis, *self._common(), limit)
        return [_room_summary(json.loads(answer)) for answer in answers]

    async def unowned(self, listed: Sequence[tuple[str, str]]) -> list[bool]:
        """Which of the rooms (name, sid) that LiveKit lists need a closer look at who is in them.

        Not those that are finished, owned or waiting. A rested or quarantined one once in `Times.rested_look_ms`.
        """
        wanted: list[bool] = []
        for start in range(0, len(listed), UNOWNED_AT_ONCE):
            flat = [text for pair in listed[start : start + UNOWNED_AT_ONCE] for text in pair]
            wanted += [bool(answer) for answer in await UNOWNED.run(self._redis, *self._common(), *flat)]
        return wanted

    async def retry(self, room: str) -> bool:
        """Lift a room's quarantine. False when it is not quarantined."""
        return bool(await RETRY.run(self._redis, *self._common(), room))

    async def counters(self) -> dict[str, int]:
        """How often what happened, since Redis' data began."""
        raw = await cast(Awaitable[dict[str, str]], self._redis.hgetall(f"{self._prefix}counters"))
        return {name: int(value) for name, value in raw.items()}

    async def _first_of(self, key: str, *, limit_s: float) -> str | None:
        """Wait for a list's first text and leave it there: an answer lost on its way would be a call that is lost."""
        execute = cast(
            Callable[..., Awaitable[str | None]], self._redis.execute_command
        )  # redis-py wants whole seconds
        return await execute("BLMOVE", key, key, "LEFT", "LEFT", f"{max(limit_s, 0.01):.3f}")

    def _grant(self, answer: Sequence[Any]) -> Grant:
        """What `granted` of the scripts says, over the wire or as JSON."""
        _, room, sid, created, fence, attempt, wanted, queued, callers, now, memory = answer
        return Grant(
            room=room,
            sid=sid,
            created_unix_ms=int(created),
            fence=int(fence),
            ttl_ms=self._times.ttl_ms,
            attempt=int(attempt),
            wanted_unix_ms=int(wanted),
            queued_unix_ms=int(queued),
            callers=_callers(json.loads(callers)),
            claimed_unix_ms=int(now),
            memory=tuple(memory),
        )

    def _common(self) -> tuple[str, str, str]:
        """The arguments that every script begins with."""
        return self._prefix, str(self._now_ms()) if self._now_ms else "", self._times_json


def _stored_ms(unix_ms: int) -> int:
    """A time as room state can store it; a nonsensical one is drawn to the nearest that it can."""
    return min(max(unix_ms, 0), MAX_UNIX_MS)


def _callers_json(callers: Mapping[str, int]) -> str:
    return json.dumps({sid: _stored_ms(joined) for sid, joined in callers.items()})


def _callers(stored: Mapping[str, float]) -> dict[str, int]:
    return {sid: int(joined) for sid, joined in stored.items()}


def _ms(answer: Mapping[str, Any], name: str) -> int | None:
    value = answer.get(name)
    return None if value is None else int(value)


def _standing(answer: Mapping[str, Any]) -> Standing:
    """`ended` is a lapse that nobody has looked at yet; it lasts until the next sweep."""
    return Standing.LAPSED if answer["standing"] == "ended" else Standing(answer["standing"])


def _offer(answer: Mapping[str, Any], memory: Sequence[str]) -> Offer:
    return Offer(
        room=answer["room"],
        sid=answer["sid"],
        created_unix_ms=int(answer["created"]),
        fence=int(answer["fence"]),
        owner=answer["owner"],
        callers=_callers(answer["callers"]),
        memory=tuple(memory),
    )


def _room_state(answer: Mapping[str, Any]) -> RoomState:
    rested, offer = answer.get("rested"), answer.get("offer")
    return RoomState(
        room=answer["room"],
        sid=answer["sid"],
        created_unix_ms=int(answer["created"]),
        standing=_standing(answer),
        now_unix_ms=int(answer["now"]),
        callers=_callers(answer["callers"]),
        gone=tuple(answer["gone"]),
        owner=answer.get("owner"),
        fence=int(answer.get("fence", 0)),
        until_unix_ms=_ms(answer, "until"),
        claimed_unix_ms=_ms(answer, "claimed"),
        attempts=tuple(int(at) for at in answer["attempts"]),
        excused=tuple(int(at) for at in answer["excused"]),
        rested_sids=tuple(rested["sids"]) if rested else (),
        rested_upto_unix_ms=_ms(rested, "upto") if rested else None,
        quarantined_unix_ms=_ms(answer, "quarantined"),
        wanted_unix_ms=_ms(answer, "wanted"),
        queued_unix_ms=_ms(answer, "queued"),
        due_unix_ms=_ms(answer, "due"),
        bars=_callers(answer["bars"]),
        declined=_callers(answer["declined"]),
        next=offer["next"] if offer else None,
        is_next_ready=bool(offer and offer["ready"]),
        hangup_unix_ms=_ms(answer, "hangup"),
    )


def _room_summary(answer: Mapping[str, Any]) -> RoomSummary:
    now, standing, owner = int(answer["now"]), _standing(answer), answer.get("owner")
    queued, claimed, until = _ms(answer, "queued"), _ms(answer, "claimed"), _ms(answer, "until_ms")
    quarantined = _ms(answer, "quarantined")
    return RoomSummary(
        room=answer["room"],
        sid=answer["sid"],
        standing=standing,
        owner=owner,
        fence=int(answer.get("fence", 0)),
        callers=int(answer["callers"]),
        attempts=int(answer["attempts"]),
        waited_ms=now - queued if queued is not None and owner is None else None,
        held_ms=now - claimed if claimed is not None and owner is not None else None,
        quarantined_ms=now - quarantined if quarantined is not None else None,
        lease_left_ms=until - now if until is not None else None,
    )
