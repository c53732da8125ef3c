"""The calls of this process: claim -> token -> spec -> carry -> outcome -> release.

Calls live in tasks of the carrier, never under arq's: they outlive any trouble of the queue and of Redis.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

import stamina
import structlog
from redis.exceptions import RedisError

from bridge import Cue, Ending, Outcome, Said, SessionSpec, Stop, carry
from pool import metrics
from pool.call import CarrierCallbacks, HeldCall
from pool.capacity import Limits, Load, refusal
from pool.decision_writer import DecisionWriter
from pool.endings import CONSEQUENCES, facts_of, release_for
from pool.join_turns import JoinTurns
from pool.journal import DecisionLog
from pool.lease import ATTEMPT_LIMIT_S, Lease
from pool.memory import MemoryWriter
from pool.passing import Passing
from pool.registry import Again, Grant, Offer, Release, Renewal, Rooms
from pool.settings import PoolSettings
from pool.specs import spec_for, stand_by_spec
from pool.stand_by import StandBy
from pool.tokens import token_for

log = structlog.get_logger()

RENEW_S = 0.9
"""A lease lives 3 s: three renewals may fail before it is in doubt."""

RENEW_AGAIN_S = 0.1
"""After a round that failed as a whole."""

RELEASE_LIMIT_S = 2.0
"""A release that does not reach Redis in time is left to the end of the lease."""


class Carrier:
    """Holds rooms and carries their calls, never more than its capacity."""

    def __init__(self, carrier_id: str, rooms: Rooms, story: DecisionLog, settings: PoolSettings) -> None:
        self.id = carrier_id
        self.room_made = asyncio.Event()
        """Set whenever there may be a free slot again."""
        self.loop_lag_s = 0.0
        self._rooms = rooms
        self._decisions = DecisionWriter(carrier_id, story)
        self._settings = settings
        self._limits = Limits(capacity=settings.capacity)
        self._calls: dict[tuple[str, int], HeldCall] = {}
        """By `HeldCall.key`."""
        self._stand_bys: dict[tuple[str, int], StandBy] = {}
        """By room and its owner's fence: calls that may be passed to us. Each occupies a slot."""
        self._memory_writer = MemoryWriter(carrier_id, rooms)
        self._passing = Passing(carrier_id, rooms, self._memory_writer, renew=self.renew)
        note = self._memory_writer.note if settings.remember else _forget
        self._callbacks = CarrierCallbacks(
            tell=self._decisions.tell,
            note=note,
            renew=self.renew,
            token=self._token,
            turn_to_join=JoinTurns(settings.joins_at_once).turn,
        )
        self.calls_carried = 0
        """Calls that have ended here."""
        self._claims_wanted = 0
        self._offers: dict[tuple[str, int], Offer] = {}
        """What we are asked to stand by for and have not answered yet."""
        self._claim = asyncio.Event()
        self._draining = False
        self._emptied = asyncio.Event()
        self._renewing = asyncio.Lock()
        self._renewed_at = monotonic()
        self._is_answered = True
        metrics.CAPACITY.set(settings.capacity)

    # --- what others ask ------------------------------------------------------------

    @property
    def in_use(self) -> int:
        """Calls held, those on their way in and out and those stood by for included."""
        return len(self._calls) + len(self._stand_bys)

    @property
    def answered_ago_s(self) -> float:
        """How long ago Redis last answered a renewal or a sweep."""
        return monotonic() - self._renewed_at

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

    def offered(self, offers: Iterable[Offer]) -> None:
        """Stand by for these, where that is not done yet. The same ones may come with every sweep."""
        ours = {call.grant.room for call in self._calls.values()}  # passed to us since the sweep was sent
        for offer in offers:
            key = (offer.room, offer.fence)
            if key not in self._stand_bys and key not in self._offers and offer.room not in ours:
                self._offers[key] = offer
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
        self._renewed_at = monotonic()

    # --- ending ---------------------------------------------------------------------

    def quiet(self) -> None:
        """Take no more rooms. Idempotent."""
        self._draining = True
        metrics.DRAINING.set(1)
        self._claim.set()  # to give back what we stand by for
        self._note_if_empty()

    def stop_calls(self) -> None:
        """Ask every call to leave; each room is released for others."""
        for call in self._calls.values():
            call.stop.ask(Ending.STOPPED)
        for stand_by in self._stand_bys.values():
            stand_by.stop.ask(Ending.STOPPED)

    def abandon_calls(self) -> None:
        """Cancel calls that did not leave when they were asked; a call into the SDK that hangs bounds itself."""
        for call in self._calls.values():
            log.error("call_abandoned", room=call.grant.room, fence=call.grant.fence)
            call.abandon()
        for stand_by in self._stand_bys.values():
            stand_by.abandon()

    async def empty(self) -> None:
        """Wait until a quiet carrier holds no call."""
        await self._emptied.wait()

    # --- tasks ----------------------------------------------------------------------

    async def claim_forever(self, calls: asyncio.TaskGroup, farewells: asyncio.TaskGroup) -> None:
        """Task: claim a room for each wish, stand by for each offer, and start their calls in `calls`."""
        while True:
            await self._claim.wait()
            self._claim.clear()
            await self._answer_offers(calls, farewells)
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

    async def hand_over_forever(self) -> None:
        """Task: pass every call on to another carrier, at most two at once, until cancelled.

        Without memory (ROOMPOOL_REMEMBER=0) nobody could go on where we stop, so calls stay until they end.
        """
        if not self._settings.remember:
            log.info("hand_over_off", reason="ROOMPOOL_REMEMBER=0")
            await asyncio.Event().wait()
        await self._passing.forever(self._calls.values)

    async def tell_forever(self) -> None:
        """Task: write the story's entries, and what is remembered of calls, to Redis."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._decisions.write_forever(), name="story")
            group.create_task(self._memory_writer.write_forever(), name="memory")

    async def told(self, *, limit_s: float) -> None:
        """Wait until the story so far is written, at most `limit_s`."""
        await self._decisions.written(limit_s=limit_s)

    async def renew(self) -> bool:
        """Renew every lease now. Return whether Redis answered."""
        async with self._renewing:
            calls = list(self._calls.values())
            if not calls:
                self._is_answered = True
                return True
            sent_at = monotonic()
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
            metrics.RENEWAL_SECONDS.observe(monotonic() - sent_at)
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
        sent_at = monotonic()
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

    async def _answer_offers(self, calls: asyncio.TaskGroup, farewells: asyncio.TaskGroup) -> None:
        """Stand by where we are asked to, or say that we cannot."""
        if self._draining:
            for stand_by in list(self._stand_bys.values()):
                await stand_by.give_back()
        while self._offers:
            key, offer = self._offers.popitem()
            stand_by = StandBy(self.id, offer, self._rooms, tell=self._decisions.tell, take=partial(self._take, key))
            if not self.has_room():
                await stand_by.refuse()
                continue
            self._stand_bys[key] = stand_by
            stand_by.abandon = calls.create_task(self._stand_by(stand_by, farewells), name=f"stand_by_{key[1]}").cancel

    def _take(self, key: tuple[str, int], grant: Grant) -> HeldCall:
        """A room was passed to us: hold it, under a lease that is in doubt until it is renewed."""
        stand_by = self._stand_bys.pop(key)
        lease = self._lease(grant, sent_at=monotonic() - grant.ttl_ms / 1000)
        call = HeldCall(grant, lease, self._callbacks, speaks_first=False, stop=stand_by.stop)
        call.abandon = stand_by.abandon
        self._calls[call.key] = call
        return call

    def _lease(self, grant: Grant, *, sent_at: float) -> Lease:
        hold_s = self._settings.hold_s
        return Lease(grant.fence, sent_at=sent_at, ttl_s=grant.ttl_ms / 1000, hold_s=hold_s, tick_s=RENEW_S)

    def _start(self, grant: Grant, sent_at: float, calls: asyncio.TaskGroup, farewells: asyncio.TaskGroup) -> None:
        spec = spec_for(grant, self._settings)
        lease = self._lease(grant, sent_at=sent_at)
        call = HeldCall(grant, lease, self._callbacks, speaks_first=bool(spec.opening_words))
        self._calls[call.key] = call
        metrics.WAITED_SECONDS.observe(grant.waited_ms / 1000)
        log.info("claimed", room=grant.room, fence=grant.fence, attempt=grant.attempt, waited_ms=grant.waited_ms)
        call.abandon = calls.create_task(self._carry(call, spec, farewells), name=f"call_{grant.fence}").cancel

    async def _carry(self, call: HeldCall, spec: SessionSpec, farewells: asyncio.TaskGroup) -> None:
        """Task, one a call: from the claim to the release."""
        with structlog.contextvars.bound_contextvars(room=call.grant.room, fence=call.grant.fence):
            async with self._slot(call):
                outcome = await _carried(spec, call, call.stop, farewells)
                await self._end(call, outcome)

    async def _stand_by(self, stand_by: StandBy, farewells: asyncio.TaskGroup) -> None:
        """Task, one for each room that may be passed to us: from the offer to the release, or to nothing."""
        offer = stand_by.offer
        with structlog.contextvars.bound_contextvars(room=offer.room, fence=offer.fence):
            async with self._stand_by_slot(stand_by):
                log.info("standing_by", owner=offer.owner)
                spec = stand_by_spec(offer, self._settings)
                outcome = await _carried(spec, stand_by, stand_by.stop, farewells, cue=stand_by)
                if stand_by.call is None:
                    await stand_by.over(outcome)
                else:
                    structlog.contextvars.bind_contextvars(fence=stand_by.call.grant.fence)
                    await self._end(stand_by.call, outcome)

    async def _end(self, call: HeldCall, outcome: Outcome) -> None:
        """Give the room back as the call ended, with what is still to be remembered if somebody else goes on."""
        call.over.set()
        release = release_for(call.grant, outcome)
        if isinstance(release, Again):
            await self._memory_writer.flush(*call.key)
        if release is not None:
            await self._release(call.grant, release)
        self._report(call.grant.room, outcome)

    @asynccontextmanager
    async def _slot(self, call: HeldCall) -> AsyncIterator[None]:
        """The call's place in the carrier, given back whatever happens."""
        try:
            yield
        finally:
            self._give_slot_back(self._calls.pop(call.key))

    @asynccontextmanager
    async def _stand_by_slot(self, stand_by: StandBy) -> AsyncIterator[None]:
        """The same for a call that may have become ours on the way."""
        try:
            yield
        finally:
            stand_by.close()
            if stand_by.call is None:
                del self._stand_bys[(stand_by.offer.room, stand_by.offer.fence)]
            self._give_slot_back(stand_by.call and self._calls.pop(stand_by.call.key))

    def _give_slot_back(self, call: HeldCall | None) -> None:
        if call is not None:
            call.over.set()
            self._memory_writer.close(*call.key)
            self.calls_carried += 1
        self.room_made.set()
        self.want_claim()
        self._note_if_empty()

    def _note_if_empty(self) -> None:
        if self._draining and not self.in_use and not self._claims_wanted:
            self._emptied.set()

    def _token(self, grant: Grant) -> str:
        settings = self._settings
        return token_for(
            grant,
            settings.livekit_api_key,
            settings.livekit_api_secret.get_secret_value(),
            identity=settings.agent_identity,
            name=settings.agent_name,
        )

    async def _release(self, grant: Grant, release: Release) -> None:
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
        consequence, facts = CONSEQUENCES[outcome.ending], facts_of(outcome)
        if consequence.is_failure:
            log.error("call_ended", cure=consequence.cure, **facts)
        else:
            log.info("call_ended", **facts)
        story = {key: value for key, value in facts.items() if value not in (None, "", 0)}
        self._decisions.tell(room, "ended", {**story, "cure": consequence.cure} if consequence.is_failure else story)


async def _carried(
    spec: SessionSpec,
    call: HeldCall | StandBy,
    stop: Stop,
    farewells: asyncio.TaskGroup,
    *,
    cue: Cue | None = None,
) -> Outcome:
    """Carry a call to its outcome, whatever happens."""
    try:
        return await carry(spec, permit=call, journal=call, stop=stop, farewells=farewells, cue=cue)
    except Exception:  # the boundary of a call: the others of this process go on
        log.exception("call_bug")
        return Outcome(Ending.BUG)


def _forget(room: str, fence: int, said: Said) -> None:
    """With ROOMPOOL_REMEMBER=0."""
