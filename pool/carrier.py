"""The calls of this process: claim -> token -> spec -> carry -> outcome -> release.

Calls live in tasks of the carrier, never under arq's: they outlive any trouble of the queue and of Redis.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import assert_never

import stamina
import structlog
from redis.exceptions import RedisError

from bridge import Ending, Outcome, SessionSpec, carry
from pool import metrics
from pool.call import Desk, HeldCall
from pool.capacity import Limits, Load, refusal
from pool.endings import CONSEQUENCES
from pool.journal import DecisionLog
from pool.lease import ATTEMPT_LIMIT_S, Lease
from pool.registry import Again, Gone, Grant, Release, Renewal, Rested, Rooms
from pool.settings import PoolSettings
from pool.tokens import token_for

log = structlog.get_logger()

RENEW_S = 0.9
"""A lease lives 3 s: three renewals may fail before it is in doubt."""

RENEW_AGAIN_S = 0.1
"""After a round that failed as a whole."""

RELEASE_LIMIT_S = 2.0
"""A release that does not reach Redis in time is left to the end of the lease."""

STORY_BOUND = 256
"""Entries for `roompool why` on their way to Redis. Newest dropped: a story is not worth memory without end."""


class Carrier:
    """Holds rooms and carries their calls, never more than its capacity."""

    def __init__(self, carrier_id: str, rooms: Rooms, story: DecisionLog, settings: PoolSettings) -> None:
        self.id = carrier_id
        self.room_made = asyncio.Event()
        """Set whenever there may be a free slot again."""
        self.loop_lag_s = 0.0
        self._rooms = rooms
        self._story = story
        self._settings = settings
        self._limits = Limits(capacity=settings.capacity)
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, HeldCall] = {}
        """By fence: a room may be granted to us again while its last call is still on its way out."""
        self._desk = Desk(tell=self._tell, note=lambda room, fence, said: None, renew=self.renew, token=self._token)
        self._claims_wanted = 0
        self._claim = asyncio.Event()
        self._draining = False
        self._emptied = asyncio.Event()
        self._entries: asyncio.Queue[tuple[str, str, Mapping[str, int | float | str]]] = asyncio.Queue(STORY_BOUND)
        self._renewing = asyncio.Lock()
        self._renewed_at = self._loop.time()
        self._is_answered = True
        metrics.CAPACITY.set(settings.capacity)
        metrics.IN_USE.set_function(lambda: self.in_use)

    # --- what others ask ------------------------------------------------------------

    @property
    def in_use(self) -> int:
        """Calls held, those on their way in and out included."""
        return len(self._calls)

    @property
    def answered_ago_s(self) -> float:
        """How long ago Redis last answered a renewal or a sweep."""
        return self._loop.time() - self._renewed_at

    def has_room(self) -> bool:
        """Whether one more call may be taken, counting the claims already under way."""
        load = Load(self.in_use + self._claims_wanted, is_draining=self._draining, loop_lag_s=self.loop_lag_s)
        return refusal(load, self._limits) is None

    async def wake(self) -> None:
        """A job came: claim one room, soon. The claim is a task of our own, which no queue can cancel half-way."""
        self.want_claim()

    def want_claim(self) -> None:
        """Claim one room as soon as the loop gets to it, if there is a slot."""
        if self.has_room():
            self._claims_wanted += 1
            self._claim.set()

    async def room_finished(self, room: str) -> None:
        """A job says that a room is over: if it is ours, ask the registry now."""
        if any(call.grant.room == room for call in self._calls.values()):
            await self.renew()

    @property
    def is_answered(self) -> bool:
        """Whether the last round of renewals was answered. While not, a sweep might end leases that can be renewed."""
        return self._is_answered

    def answered(self) -> None:
        """Redis answered somebody in this process."""
        self._renewed_at = self._loop.time()

    # --- ending ---------------------------------------------------------------------

    def quiet(self) -> None:
        """Take no more rooms. Idempotent."""
        self._draining = True
        metrics.DRAINING.set(1)
        self._note_if_empty()

    def stop_calls(self) -> None:
        """Ask every call to leave; each room is released for others."""
        for call in self._calls.values():
            call.stop.ask(Ending.STOPPED)

    def abandon_calls(self) -> None:
        """Cancel calls that did not leave when they were asked; a call into the SDK that hangs bounds itself."""
        for call in self._calls.values():
            log.error("call_abandoned", room=call.grant.room, fence=call.grant.fence)
            call.abandon()

    async def empty(self) -> None:
        """Wait until a quiet carrier holds no call."""
        await self._emptied.wait()

    # --- tasks ----------------------------------------------------------------------

    async def claim_forever(self, calls: asyncio.TaskGroup, farewells: asyncio.TaskGroup) -> None:
        """Task: claim a room for each wish, and start its call in `calls`."""
        while True:
            await self._claim.wait()
            self._claim.clear()
            while self._claims_wanted:
                # A wish counts against the capacity until its claim is answered; none is begun while draining, and one
                # under way then may still be granted, so the carrier is not empty before its answer.
                grant = None if self._draining else await self._claim_one()
                self._claims_wanted -= 1
                if grant is not None:
                    self._start(*grant, calls, farewells)
                self._note_if_empty()

    async def renew_forever(self) -> None:
        """Task: keep the leases of all calls, in one pipeline."""
        while True:
            answered = await self.renew()
            await asyncio.sleep(RENEW_S if answered else RENEW_AGAIN_S)

    async def tell_forever(self) -> None:
        """Task: write the story's entries to Redis."""
        while True:
            room, event, facts = await self._entries.get()
            if not await self._story.append(room, event, **facts):
                metrics.STORY_DROPPED.inc()
            self._entries.task_done()

    async def told(self, *, limit_s: float) -> None:
        """Wait until the story so far is written, at most `limit_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._entries.join()

    async def renew(self) -> bool:
        """Renew every lease now. Return whether Redis answered."""
        async with self._renewing:
            calls = list(self._calls.values())
            if not calls:
                self._is_answered = True
                return True
            sent_at = self._loop.time()
            try:
                async with asyncio.timeout(ATTEMPT_LIMIT_S):
                    answers = await self._rooms.renew(self.id, [call.held for call in calls])
            except (RedisError, OSError):
                metrics.RENEWALS.labels("unreachable").inc(len(calls))
                for call in calls:
                    call.unanswered(sent_at=sent_at)
                if self._is_answered:
                    log.warning("renewals_unanswered", calls=len(calls))
                self._is_answered = False
                return False
            metrics.RENEWAL_SECONDS.observe(self._loop.time() - sent_at)
            for call, answer in zip(calls, answers, strict=True):
                if isinstance(answer, Renewal):
                    metrics.RENEWALS.labels(answer.name.lower()).inc()
                    call.answered(answer, sent_at=sent_at)
                else:  # an error reply about this room alone
                    metrics.RENEWALS.labels("error").inc()
                    call.unanswered(sent_at=sent_at)
            if not self._is_answered:
                log.info("renewals_answered", calls=len(calls))
            self._is_answered = True
            self.answered()
            return True

    # --- one call -------------------------------------------------------------------

    async def _claim_one(self) -> tuple[Grant, float] | None:
        sent_at = self._loop.time()
        try:
            answer = await self._rooms.claim_next(self.id, capacity=self._limits.capacity)
        except (RedisError, OSError) as error:
            # A grant whose answer was lost is a lease without a call: it ends by itself and the room is found again.
            metrics.CLAIMS.labels("unreachable").inc()
            log.warning("claim_failed", error=type(error).__name__)
            return None
        if not isinstance(answer, Grant):
            metrics.CLAIMS.labels(answer.name.lower()).inc()
            return None
        metrics.CLAIMS.labels("granted").inc()
        return answer, sent_at

    def _start(self, grant: Grant, sent_at: float, calls: asyncio.TaskGroup, farewells: asyncio.TaskGroup) -> None:
        lease = Lease(
            grant.fence, sent_at=sent_at, ttl_s=grant.ttl_ms / 1000, hold_s=self._settings.hold_s, tick_s=RENEW_S
        )
        call = HeldCall(grant, lease, self._desk, speaks_first=True)
        self._calls[grant.fence] = call
        metrics.WAITED_SECONDS.observe(grant.waited_ms / 1000)
        log.info("claimed", room=grant.room, fence=grant.fence, attempt=grant.attempt, waited_ms=grant.waited_ms)
        call.abandon = calls.create_task(self._carry(call, farewells), name=f"call_{grant.fence}").cancel

    async def _carry(self, call: HeldCall, farewells: asyncio.TaskGroup) -> None:
        """Task, one a call: from the claim to the release."""
        room, fence = call.grant.room, call.grant.fence
        with structlog.contextvars.bound_contextvars(room=room, fence=fence):
            async with self._slot(fence):
                try:
                    outcome = await carry(
                        self._spec(call.grant), permit=call, journal=call, stop=call.stop, farewells=farewells
                    )
                except Exception:  # the boundary of a call: the others of this process go on
                    log.exception("call_bug")
                    outcome = Outcome(Ending.BUG)
                await self._release(call.grant, outcome)
                self._report(room, outcome)

    @asynccontextmanager
    async def _slot(self, fence: int) -> AsyncIterator[None]:
        """The call's place in the carrier, given back whatever happens."""
        try:
            yield
        finally:
            del self._calls[fence]
            self.room_made.set()
            self.want_claim()
            self._note_if_empty()

    def _note_if_empty(self) -> None:
        if self._draining and not self._calls and not self._claims_wanted:
            self._emptied.set()

    def _spec(self, grant: Grant) -> SessionSpec:
        return replace(self._settings.session_spec(grant.room), sid=grant.sid)

    def _token(self, grant: Grant) -> str:
        settings = self._settings
        return token_for(
            grant,
            settings.livekit_api_key,
            settings.livekit_api_secret.get_secret_value(),
            identity=settings.agent_identity,
            name=settings.agent_name,
        )

    async def _release(self, grant: Grant, outcome: Outcome) -> None:
        release = release_for(grant, outcome)
        if release is None:
            return
        try:
            async with asyncio.timeout(RELEASE_LIMIT_S):
                async for attempt in stamina.retry_context(on=(RedisError, OSError), attempts=3, wait_initial=0.1):
                    with attempt:  # a release that ran unheard of answers False the second time, and changes nothing
                        await self._rooms.release(self.id, grant.room, grant.fence, release)
        except (RedisError, OSError) as error:
            metrics.RELEASES_FAILED.inc()
            log.warning("release_failed", error=type(error).__name__)

    def _report(self, room: str, outcome: Outcome) -> None:
        """The call's one canonical line, and its last entry in the story."""
        consequence = CONSEQUENCES[outcome.ending]
        facts = {
            "ending": outcome.ending.value,
            "code": outcome.code,
            "call_ms": outcome.call_ms,
            "joined_ms": outcome.joined_ms,
            "voice_ready_ms": outcome.voice_ready_ms,
            "first_sound_ms": outcome.first_sound_ms,
            "replies": outcome.replies,
            "barge_ins": outcome.barge_ins,
            "voice_sessions": outcome.voice_sessions,
            "dropped_in_ms": outcome.dropped_in_ms,
            "dropped_out_ms": outcome.dropped_out_ms,
            "frames_muted": outcome.frames_muted,
        }
        if consequence.is_failure:
            log.error("call_ended", cure=consequence.cure, **facts)
        else:
            log.info("call_ended", **facts)
        story = {key: value for key, value in facts.items() if value not in (None, "", 0)}
        self._tell(room, "ended", {**story, "cure": consequence.cure} if consequence.is_failure else story)

    def _tell(self, room: str, event: str, facts: Mapping[str, int | float | str]) -> None:
        try:
            self._entries.put_nowait((room, event, {"carrier": self.id, **facts}))
        except asyncio.QueueFull:
            metrics.STORY_DROPPED.inc()


def release_for(grant: Grant, outcome: Outcome) -> Release | None:
    """How to give a room back after this outcome, or None when it is not ours to give. Pure.

    The callers served are those seen in the room, and those the grant named: a caller who came later wakes the room.
    """
    consequence = CONSEQUENCES[outcome.ending]
    served = {**grant.callers, **outcome.served}
    match consequence.then:
        case "gone":
            return Gone(served=served)
        case "rested":
            return Rested(served=served)
        case "again":
            return Again(failed=consequence.is_failure, counts=consequence.counts, bar_ms=consequence.bar_ms)
        case "nothing":
            return None
        case _:
            assert_never(consequence.then)
