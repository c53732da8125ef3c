"""What carriers do for themselves: claim, renew, remember, release, die."""

from pool.registry import Again, Gone, Grant, Held, NoGrant, Release, Renewal, Rested, RoomState, Standing
from tests.pool.registry.model import Holder, Known, Life
from tests.pool.registry.story.notes import CAPACITY, Notes

FRESH_BEAT_MS = 6000
"""Who beat no longer ago is taken to be alive."""


class Carrying(Notes):
    """The verbs of one carrier."""

    async def beat(self, index: int, draining: bool) -> None:
        holder = self.carriers[index]
        holder.is_draining = draining

        told = await self.world.beat(holder.id, worker=holder.worker, capacity=CAPACITY, draining=draining)

        assert told == (holder.worker in self.model.drained)
        self.model.beats[holder.id] = (holder.worker, draining)

    async def claim(self, index: int, is_heard: bool) -> None:
        carrier = self.carriers[index]
        if carrier.in_use >= CAPACITY:  # it knows better than a Redis that lost its data
            return
        scores = await self.world.scores("waiting")
        waiting = [wanted for room, wanted in scores.items() if await self.may(carrier, room)]

        answer = await self.world.rooms.claim_next(carrier.id, capacity=CAPACITY)

        if not isinstance(answer, Grant):
            await self.refused(carrier, answer, waiting)
            return
        # Who drains gets nothing. Ends with its record, until its next beat.
        assert not self.model.drains(carrier.id)
        # Age order: nobody who waited longer was passed over. (A lease of its own that ended is noticed by the claim.)
        assert all(answer.wanted_unix_ms <= wanted for wanted in waiting)
        # A finished life is never granted. Ends with the tombstones: an hour, or a loss of data.
        assert answer.sid not in self.model.finished
        # Only who is noted as present, in the life with the greatest creation time.
        known = self.model.known[answer.room]
        assert (answer.sid, answer.created_unix_ms) == (known.life.sid, known.life.created)
        assert answer.callers == known.callers
        assert answer.callers or self.world.clock.now <= known.expected_until
        # Nobody's call is reshuffled while its owner may come back. Survives: the grace begins with the loss.
        if self.world.clock.now < self.protected_until:
            assert answer.sid not in self.protected
        self.granted(carrier, answer)
        if is_heard:
            self.take(carrier, answer, self.world.clock.now + answer.ttl_ms)
        else:
            carrier.unheard.add(answer.room)

    async def everybody_claims(self) -> None:
        for index in range(len(self.carriers)):
            await self.claim(index, is_heard=True)

    async def may(self, carrier: Holder, room: str) -> bool:
        """Whether this carrier is not barred from a room that waits, and somebody is there or still expected.

        A bar of its worker holds only while a carrier of another worker could take the room.
        """
        state = await self.look(room)
        if state is None:
            return True
        if state.standing is Standing.ABSENT:  # the expectation passed; it is struck from the index by the claim
            return False
        barred = {name for name, until in state.bars.items() if until > state.now_unix_ms}
        worker, _ = self.model.beats.get(carrier.id, ("", False))
        if carrier.id in barred or worker not in barred:
            return carrier.id not in barred
        return not any(
            seen.carrier.worker != worker and not {seen.carrier.id, seen.carrier.worker} & barred
            for seen in await self.world.carriers.list()
            if 0 <= seen.beat_age_ms <= FRESH_BEAT_MS and not seen.cordoned and not self.model.drains(seen.carrier.id)
        )

    async def refused(self, carrier: Holder, answer: NoGrant, waiting: list[int]) -> None:
        match answer:
            case NoGrant.FULL:
                now = await self.reading()
                assert len(now.owned_by(carrier.id)) + len(now.reserved_for(carrier.id)) >= CAPACITY
            case NoGrant.DRAINING:
                assert self.model.drains(carrier.id)
            case _:
                assert answer is NoGrant.NOTHING
                assert not waiting

    def granted(self, carrier: Holder, grant: Grant) -> None:
        # Fences rise with every grant of a name. Survives the loss of Redis' data, as time rises.
        assert grant.fence > self.last_fence.get(grant.room, 0)
        self.last_fence[grant.room] = grant.fence
        self.forgotten.discard(grant.room)
        self.history.append((carrier.id, grant))
        self.model.hung_up.pop(grant.room, None)
        known = self.model.known[grant.room]
        if known.emptied_at is not None:  # who was in that talk has left, and its owner is gone
            known.emptied_at = None
            self.model.memory.pop(grant.sid, None)
        # The next owner is told what is remembered of this life, and of no other.
        assert list(grant.memory) == self.model.memory.get(grant.sid, [])
        if grant.memory:
            self.reached.add("remembered")

    def take(self, carrier: Holder, grant: Grant, until: int) -> None:
        carrier.held[grant.room], carrier.until[grant.room] = grant, until
        carrier.unheard.discard(grant.room)
        carrier.asked.pop(grant.room, None)

    def drop(self, carrier: Holder, room: str) -> None:
        del carrier.held[room], carrier.until[room]

    async def renew(self, index: int, sees: set[int], is_heard: bool) -> None:
        carrier = self.carriers[index]
        grants = list(carrier.held.values())
        held = [
            Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, self.seen(grant, sees)) for grant in grants
        ]
        before = {grant.room: await self.look(grant.room) for grant in grants}
        sent_at = self.world.clock.now

        answers = await self.world.rooms.renew(carrier.id, held)

        for grant, said, answer in zip(grants, held, answers, strict=True):
            self.is_right(carrier, grant, answer, before[grant.room])
            if answer in {Renewal.MINE, Renewal.HANG_UP}:
                self.redis_learns(grant, said)
            if not is_heard:
                continue
            if answer in {Renewal.MINE, Renewal.HANG_UP}:
                carrier.until[grant.room] = sent_at + grant.ttl_ms
                continue
            self.drop(carrier, grant.room)
            one = (carrier.id, grant.room, grant.fence)
            if answer is Renewal.OVER and await self.world.rooms.release(*one, Gone({})):
                self.model.memory.pop(grant.sid, None)

    def seen(self, grant: Grant, places: set[int]) -> dict[str, int]:
        life = Life(grant.room, grant.sid, grant.created_unix_ms)
        return dict(life.participant(place) for place in places)

    def is_right(self, carrier: Holder, grant: Grant, answer: object, before: RoomState | None) -> None:
        assert isinstance(answer, Renewal)
        is_mine = answer in {Renewal.MINE, Renewal.HANG_UP}
        # An owner that renews in the grace keeps its room, also after a loss.
        if self.protected.get(grant.sid) == (carrier.id, grant.fence):
            assert is_mine or self.world.clock.now >= self.protected_until
        if is_mine and before is not None and (before.sid, before.fence) == (grant.sid, grant.fence):
            assert before.owner == carrier.id  # what was given up or ended does not come back by itself
        if is_mine:
            # At most one live grant: who renewed under a greater fence is the last that may.
            assert grant.fence >= self.last_mine.get(grant.room, 0)
            self.last_mine[grant.room] = grant.fence
            others = [sid for sid, (_, fence) in self.protected.items() if sid == grant.sid and fence < grant.fence]
            for sid in others:
                del self.protected[sid]
            if not self.has_failed_over:
                assert (answer is Renewal.HANG_UP) == (grant.room in self.model.hung_up)
        # Who passed a room on hears so as long as the one it was passed to is the last owner.
        to = self.passes.get((grant.room, grant.fence))
        if answer is Renewal.PASSED:
            assert to is not None
            self.reached.add("told that it was passed")
        elif to is not None and not self.has_lost_data and before is not None and before.fence == to:
            assert answer is Renewal.OVER

    def redis_learns(self, grant: Grant, said: Held) -> None:
        life = Life(grant.room, grant.sid, grant.created_unix_ms)
        known = self.model.known.get(grant.room)
        if known is None or known.life.sid != grant.sid:
            known = self.model.known[grant.room] = Known(life)
            self.model.hung_up.pop(grant.room, None)
        known.life = life
        if known.emptied_at is not None:
            was_there = any(joined < known.emptied_at for who, joined in said.callers.items() if who not in known.gone)
            if was_there or self.world.clock.now - known.emptied_at >= self.world.times.emptied_ms:
                known.emptied_at = None
        known.callers.update({who: joined for who, joined in said.callers.items() if who not in known.gone})

    async def release(self, index: int, pick: int, how: str, served: set[int]) -> None:
        carrier = self.carriers[index]
        grant = self.picked(carrier, pick)
        if grant is None:
            return
        whom = self.seen(grant, served)
        ways: dict[str, Release] = {
            "again": Again(failed=False),
            "failed": Again(failed=True, bar_ms=500),
            "excused": Again(failed=True, counts=False),
            "rested": Rested(whom),
            "gone": Gone(whom),
        }
        before = await self.look(grant.room)

        was_mine = await self.world.rooms.release(carrier.id, grant.room, grant.fence, ways[how])

        assert was_mine == self.is_owner(carrier, grant, before)
        self.drop(carrier, grant.room)
        self.protected.pop(grant.sid, None)
        if not was_mine:
            return
        known = self.model.known[grant.room]
        after = await self.look(grant.room)
        if grant.room in self.model.hung_up and how not in {"rested", "gone"}:
            # Nobody goes on with a call that a person wanted ended.
            assert after is not None and after.standing not in {Standing.WAITING, Standing.BACKING_OFF}
        if how in {"rested", "gone"} or grant.room in self.model.hung_up:
            self.model.memory.pop(known.life.sid, None)
        self.model.hung_up.pop(grant.room, None)
        if how == "gone":
            known.gone |= set(whom)
            known.callers = {who: joined for who, joined in known.callers.items() if who not in whom}

    def picked(self, carrier: Holder, pick: int) -> Grant | None:
        grants = list(carrier.held.values())
        return grants[pick % len(grants)] if grants else None

    def is_owner(self, carrier: Holder, grant: Grant, state: RoomState | None) -> bool:
        return state is not None and (state.owner, state.fence) == (carrier.id, grant.fence)

    async def remember(self, index: int, pick: int, number: int, length: int) -> None:
        carrier = self.carriers[index]
        grant = self.picked(carrier, pick)
        if grant is None:
            return
        texts = [f"{next(self.numbers)}".ljust(length, ".") for _ in range(number)]
        state = await self.look(grant.room)
        may = self.is_owner(carrier, grant, state) and grant.sid not in self.model.finished

        assert await self.world.rooms.remember(carrier.id, grant.room, grant.fence, texts) == may

        if may and state is not None:
            self.model.remember(state.sid, texts)

    async def crash(self, index: int, is_reaped: bool) -> None:
        """The process is gone; the one that starts in its place has another id, and its parent may tell of it."""
        dead = self.carriers[index]
        self.carriers[index] = self.new_carrier()
        if not is_reaped:
            return
        before = await self.reading()

        rooms = await self.world.carriers.reap(dead.id)

        after = await self.reading()
        assert not after.owned_by(dead.id)
        assert not after.reserved_for(dead.id)
        freed = set(rooms)
        # What it owned is free, but for leases whose end this was the first to notice: they ended by themselves.
        assert freed <= before.owned_by(dead.id)
        for room in before.owned_by(dead.id) - freed:
            assert (state := before.states[room]) is not None
            assert state.until_unix_ms is not None and state.until_unix_ms <= before.now
        self.protected = {sid: owner for sid, owner in self.protected.items() if owner[0] != dead.id}
        assert await self.world.rooms.claim_next(dead.id, capacity=CAPACITY) is NoGrant.CORDONED
        if freed:
            self.reached.add("reaped")

    async def drain(self, index: int) -> None:
        worker = self.carriers[index].worker
        known = await self.world.carriers.drain(worker)
        self.model.drained.add(worker)
        listed = [seen for seen in await self.world.carriers.list() if seen.carrier.worker == worker]
        assert known == len(listed)
        assert all(seen.drained for seen in listed)
