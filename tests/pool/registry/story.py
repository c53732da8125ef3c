"""A story of several rooms and carriers, acted on real room state, and what each verb must answer in it.

A verb's own promises are asserted where it is acted; what must hold at all times stands in `test_state_machine.py`.
"""

import copy
import itertools
from collections.abc import Mapping

from pool.contract import Arrived, Finished, Left
from pool.registry import (
    Again,
    Gone,
    Grant,
    HangUp,
    Held,
    NoGrant,
    Noted,
    Release,
    Renewal,
    Rested,
    RoomState,
    Standing,
)
from tests.pool.registry.model import Holder, Known, Life, Model, Reading
from tests.pool.registry.world import World

ROOMS = ("a", "b", "c")
CARRIERS = 3
CAPACITY = 2

MORE_THAN_GRANTS_IN_A_MS = 100
"""Fences rise over a loss of data because time does, and a fence may be ahead of it by the grants within one ms."""

EXPIRING = ("finished:", "memory:", "carrier:", "drained:", "stray:", "passed:", "room:")
"""Keys that Redis forgets by itself, by its own clock. (`held:` and `standby:` too, a day after the last lease.)"""


class Story:
    """Acts on room state, and remembers what must follow."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.numbers = itertools.count(1)
        self.lives: dict[str, list[Life]] = {room: [] for room in ROOMS}
        self.model = Model()
        self.carriers = [self.new_carrier(f"worker-{index // 2}") for index in range(CARRIERS)]
        self.last_fence: dict[str, int] = {}
        self.last_mine: dict[str, int] = {}
        """Room to the greatest fence that was renewed since Redis last lost anything."""
        self.history: list[tuple[str, Grant]] = []
        self.passes: dict[tuple[str, int], int] = {}
        """Room and old fence to the new one."""
        self.sights: dict[str, list[int]] = {}
        self.has_lost_data = False
        self.has_failed_over = False
        self.replica: tuple[dict[bytes, tuple[int, bytes]], Model] | None = None
        self.protected: dict[str, tuple[str, int]] = {}
        """Sid of a life to the owner, with its fence, that may come back for it."""
        self.protected_until = 0
        self.reached: set[str] = set()
        """What the story has come to: a machine that never gets anywhere proves nothing."""

    async def begin(self) -> None:
        await self.world.lose_data()
        await self.world.settle()
        for room in ROOMS:
            self.open_life(room, as_old=False)
            await self.arrive(room, 0, 0)
        for index in range(CARRIERS):
            await self.beat(index, draining=False)

    def new_carrier(self, worker: str = "") -> Holder:
        number = next(self.numbers)
        return Holder(f"carrier-{number}", worker or f"worker-of-{number}")

    def life(self, room: str, age: int) -> Life:
        lives = self.lives[room]
        return lives[max(0, len(lives) - 1 - age)]

    async def look(self, room: str) -> RoomState | None:
        return await self.world.rooms.look(room)

    async def reading(self) -> Reading:
        """Redis as it stands."""
        world, states = self.world, {room: await self.look(room) for room in ROOMS}
        ids = {holder.id for holder in self.carriers}
        ids |= {id_ for state in states.values() if state is not None for id_ in (state.owner, state.next) if id_}
        sids = {state.sid for state in states.values() if state is not None}
        async with world.redis.pipeline(transaction=False) as pipeline:
            pipeline.zrange(world.key("waiting"), 0, -1, withscores=True)
            pipeline.zrange(world.key("due"), 0, -1, withscores=True)
            pipeline.hgetall(world.key("counters"))
            for kind in ("held", "standby"):
                for id_ in ids:
                    pipeline.smembers(world.key(f"{kind}:{id_}"))
            for sid in sids:
                pipeline.lrange(world.key(f"memory:{sid}"), 0, -1)
            waiting, due, counters, *rest = await pipeline.execute()
        return Reading(
            now=world.clock.now,
            states=states,
            waiting=dict(waiting),
            due=dict(due),
            held=dict(zip(ids, rest, strict=False)),
            standby=dict(zip(ids, rest[len(ids) :], strict=False)),
            memory=dict(zip(sids, rest[2 * len(ids) :], strict=True)),
            counters=set(counters),
        )

    # -- What LiveKit does and says

    def open_life(self, room: str, as_old: bool) -> None:
        """A name begins a new life, now and then in the very millisecond of the one before."""
        before = self.lives[room]
        self.world.clock.now += 1
        created = before[-1].created if as_old and before else self.world.clock.now
        before.append(Life(room, f"RM_{next(self.numbers)}", created))

    async def arrive(self, room: str, age: int, place: int) -> None:
        life = self.life(room, age)
        who, joined = life.participant(place)
        known = self.model.known.get(life.room)

        answer = await self.world.rooms.note(Arrived(life.room, life.sid, life.created, who, joined))

        if life.sid in self.model.finished:
            assert answer is Noted.FINISHED
            return
        if known is None or (known.life.sid != life.sid and life.created >= known.life.created):
            known = self.model.known[life.room] = Known(life)
            self.model.hung_up.discard(life.room)
            for other in self.lives[life.room]:
                if other.sid != life.sid and other.created <= life.created:
                    self.protected.pop(other.sid, None)
        if known.life.sid != life.sid:
            assert answer is Noted.STALE  # the greater creation time wins a name
        elif who in known.gone:
            assert answer is Noted.GONE
        else:
            known.life = life  # its creation may have been unknown
            known.callers[who] = joined
            assert answer in {Noted.WAITING, Noted.OWNED, Noted.RESTED, Noted.QUARANTINED}

    async def leave(self, room: str, age: int, place: int) -> None:
        life = self.life(room, age)
        who, _ = life.participant(place)
        known = self.model.known.get(life.room)

        answer = await self.world.rooms.note(Left(life.room, life.sid, who))

        if life.sid in self.model.finished:
            assert answer is Noted.FINISHED
        elif known is None:
            assert answer is Noted.ABSENT
            self.model.known[life.room] = Known(Life(life.room, life.sid, 0), gone={who})
        elif known.life.sid != life.sid:
            assert answer is Noted.STALE
        else:
            known.callers.pop(who, None)
            known.gone.add(who)

    async def finish(self, room: str, age: int) -> None:
        life = self.life(room, age)
        known = self.model.known.get(life.room)

        await self.world.rooms.note(Finished(life.room, life.sid))

        self.model.finished.add(life.sid)
        if known is not None and known.life.sid == life.sid:
            known.callers.clear()
            self.model.hung_up.discard(room)
        self.protected.pop(life.sid, None)

    # -- What carriers do

    async def beat(self, index: int, draining: bool) -> None:
        holder = self.carriers[index]
        holder.is_draining = draining

        told = await self.world.beat(holder.id, worker=holder.worker, capacity=CAPACITY, draining=draining)

        assert told == (holder.worker in self.model.drained)

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
        # Age order: nobody who waited longer was passed over. (A lease of its own that ended is noticed by the claim.)
        assert all(answer.wanted_unix_ms <= wanted for wanted in waiting)
        # A finished life is never granted. Ends with the tombstones: an hour, or a loss of data.
        assert answer.sid not in self.model.finished
        # Only who is noted as present, in the life with the greatest creation time.
        known = self.model.known[answer.room]
        assert (answer.sid, answer.created_unix_ms) == (known.life.sid, known.life.created)
        assert answer.callers == known.callers
        assert answer.callers
        # Nobody's call is reshuffled while its owner may come back. Survives: the grace begins with the loss.
        if self.world.clock.now < self.protected_until:
            assert answer.sid not in self.protected
        self.granted(carrier, answer)
        if is_heard:
            self.take(carrier, answer, self.world.clock.now + answer.ttl_ms)
        else:
            carrier.unheard.add(answer.room)

    async def may(self, carrier: Holder, room: str) -> bool:
        """Whether this carrier is not barred from a room that waits."""
        state = await self.look(room)
        return state is None or state.bars.get(carrier.id, 0) <= state.now_unix_ms

    async def refused(self, carrier: Holder, answer: NoGrant, waiting: list[int]) -> None:
        match answer:
            case NoGrant.FULL:
                now = await self.reading()
                assert len(now.owned_by(carrier.id)) + len(now.reserved_for(carrier.id)) >= CAPACITY
            case NoGrant.DRAINING:
                assert carrier.is_draining or carrier.worker in self.model.drained or self.has_failed_over
            case _:
                assert answer is NoGrant.NOTHING
                assert not waiting

    def granted(self, carrier: Holder, grant: Grant) -> None:
        # Fences rise with every grant of a name. Survives the loss of Redis' data, as time rises.
        assert grant.fence > self.last_fence.get(grant.room, 0)
        self.last_fence[grant.room] = grant.fence
        self.history.append((carrier.id, grant))
        self.model.hung_up.discard(grant.room)
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
            self.model.hung_up.discard(grant.room)
        known.life = life
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
        if how in {"rested", "gone"} or grant.room in self.model.hung_up:
            self.model.memory.pop(known.life.sid, None)
        self.model.hung_up.discard(grant.room)
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

    # -- Handing over

    async def offer(self, index: int, pick: int) -> None:
        carrier = self.carriers[index]
        grant = self.picked(carrier, pick)
        if grant is None:
            return

        offered = await self.world.rooms.offer(carrier.id, grant.room, grant.fence)

        if offered.next is None:
            assert not offered.ready
            return
        state = await self.look(grant.room)
        assert self.is_owner(carrier, grant, state) and state is not None
        assert (state.next, state.is_next_ready) == (offered.next, offered.ready)
        assert offered.next != carrier.id
        assert grant.room not in self.model.hung_up or self.has_failed_over
        taker = self.holder(offered.next)
        assert taker is None or taker.worker not in self.model.drained
        self.reached.add("offered")

    def holder(self, carrier: str) -> Holder | None:
        """The living carrier of that id."""
        return next((holder for holder in self.carriers if holder.id == carrier), None)

    async def attend(self, index: int, how: str) -> None:
        """A carrier sees what it is asked, gives up what is gone, takes what was passed, and answers the rest."""
        carrier = self.carriers[index]
        for room in list(carrier.asked):
            await self.await_pass(carrier, room)
        for offer in (await self.world.rooms.due(0, carrier=carrier.id)).offers:
            one = (carrier.id, offer.room, offer.fence)
            state = await self.look(offer.room)
            assert state is not None
            assert (state.next, state.fence, state.owner, state.sid) == (
                carrier.id,
                offer.fence,
                offer.owner,
                offer.sid,
            )
            assert list(offer.memory) == self.model.memory.get(offer.sid, [])
            if offer.room in carrier.asked:
                continue
            if carrier.in_use >= CAPACITY or how == "decline":
                assert await self.world.rooms.decline(*one, bar_ms=1000)
            elif how == "ready":
                is_over = offer.sid in self.model.finished
                assert await self.world.rooms.stand_ready(*one) != is_over
                if not is_over:
                    carrier.asked[offer.room] = offer
                    self.reached.add("stood ready")

    async def await_pass(self, carrier: Holder, room: str) -> None:
        offer = carrier.asked[room]
        grant = await self.world.rooms.await_pass(carrier.id, room, offer.fence, limit_s=0.01)
        state = await self.look(room)
        if grant is not None:
            assert grant.fence > offer.fence
            assert (grant.room, grant.sid) == (room, offer.sid)
            self.take(carrier, grant, 0)  # nobody speaks on the word of a message: it renews first
            self.reached.add("taken over")
        elif state is None or (state.next, state.fence) != (carrier.id, offer.fence):
            del carrier.asked[room]

    async def withdraw(self, index: int, pick: int) -> None:
        carrier = self.carriers[index]
        grant = self.picked(carrier, pick)
        if grant is None:
            return
        before = await self.look(grant.room)
        withdrawn = await self.world.rooms.withdraw(carrier.id, grant.room, grant.fence)
        is_offered = before is not None and before.next is not None
        assert withdrawn == (self.is_owner(carrier, grant, before) and is_offered)

    async def pass_on(self, index: int, pick: int, is_heard: bool) -> None:
        carrier = self.carriers[index]
        grant = self.picked(carrier, pick)
        if grant is None:
            return
        before = await self.look(grant.room)

        fence = await self.world.rooms.pass_on(carrier.id, grant.room, grant.fence)

        after = await self.look(grant.room)
        if fence is None:
            assert after == before
            return
        # A pass leaves exactly one owner, and only who said that it was ready.
        assert before is not None and after is not None
        assert self.is_owner(carrier, grant, before)
        assert before.is_next_ready
        assert grant.sid not in self.model.finished
        assert (after.owner, after.fence, after.next) == (before.next, fence, None)
        assert len(after.attempts) == len(before.attempts)
        assert fence > self.last_fence.get(grant.room, 0)
        self.last_fence[grant.room] = self.passes[grant.room, grant.fence] = fence
        self.history.append((carrier.id, grant))
        self.protected.pop(grant.sid, None)
        taker = self.holder(str(before.next))
        if taker is not None:
            taker.unheard.add(grant.room)
        if is_heard:
            self.drop(carrier, grant.room)
        else:
            carrier.until[grant.room] = 0  # it is mute from when it asked, until a renewal tells
        self.reached.add("passed")

    async def hand_over(self, index: int, pick: int, is_heard: bool) -> None:
        """The whole of it, as far as it comes; each step is acted alone as well."""
        await self.everybody_claims()
        for number in range(CARRIERS):
            await self.beat(number, draining=number == index)
        await self.offer(index, pick)
        for number in range(CARRIERS):
            await self.attend(number, "ready")
        await self.pass_on(index, pick, is_heard)
        await self.renew(index, set(), is_heard=not is_heard)
        for number in range(CARRIERS):
            await self.attend(number, "wait")
        await self.beat(index, draining=False)

    async def act_with_a_stale_fence(self, number: int, how: Release) -> None:
        """Whoever shows a fence below the stored one changes nothing. Survives the loss of data."""
        if not self.history:
            return
        carrier, grant = self.history[-1 - number % len(self.history)]
        room, fence = grant.room, grant.fence
        state = await self.look(room)
        if state is None or state.fence <= fence:
            return
        before = await self.world.snapshot()
        rooms = self.world.rooms

        [renewal] = await rooms.renew(carrier, [Held(room, grant.sid, grant.created_unix_ms, fence, grant.callers)])
        assert renewal in {Renewal.LOST, Renewal.OVER, Renewal.PASSED}
        assert not await rooms.release(carrier, room, fence, how)
        assert not await rooms.remember(carrier, room, fence, ["stale"])
        assert (await rooms.offer(carrier, room, fence)).next is None
        assert not await rooms.stand_ready(carrier, room, fence)
        assert not await rooms.decline(carrier, room, fence, bar_ms=1000)
        assert not await rooms.withdraw(carrier, room, fence)
        assert await rooms.pass_on(carrier, room, fence) is None
        assert await self.world.snapshot() == before
        self.reached.add("stale")

    # -- Time, people and Redis

    async def pass_time(self, ms: int, sweep: bool) -> None:
        """Time in which Redis is in use, but nobody renews."""
        await self.world.pass_ms(ms, sweep=sweep)

    async def live(self, ms: int) -> None:
        """Time in which every carrier that lives beats, sweeps, renews and claims as it should."""
        end, beats_at = self.world.clock.now + ms, 0
        await self.everybody_claims()
        while self.world.clock.now < end:
            self.world.clock.now = min(end, self.world.clock.now + 900)
            for index, holder in enumerate(self.carriers):
                if beats_at <= self.world.clock.now:
                    await self.beat(index, holder.is_draining)
                await self.renew(index, set(), is_heard=True)
            if beats_at <= self.world.clock.now:
                beats_at = self.world.clock.now + 2000
            await self.world.rooms.due()
        for index in range(CARRIERS):
            await self.remember(index, 0, number=1, length=20)

    async def be_silent(self, ms: int, everybody_claims: bool) -> None:
        """Nobody reaches Redis for more than half a ttl. Whoever was owner then may come back first."""
        owners = {}
        for room in ROOMS:
            state = await self.look(room)
            if state is not None and state.owner is not None and state.sid not in self.model.finished:
                owners[state.sid] = (state.owner, state.fence)
        self.world.silence(ms)
        await self.world.touch()
        self.protect(owners)
        if everybody_claims:
            await self.everybody_claims()

    async def lose_data(self, everybody_claims: bool) -> None:
        """Redis comes back empty, and hears of the rooms again before their owners renew."""
        present = [(known.life, who) for known in self.model.known.values() for who in known.callers]
        await self.world.lose_data()
        self.world.clock.now += MORE_THAN_GRANTS_IN_A_MS
        await self.world.touch()
        self.has_lost_data = True
        self.model = Model()
        self.last_mine.clear()
        self.protect(self.newest_owners())
        if everybody_claims:
            for life, who in present:
                await self.arrive(life.room, self.age(life), int(who.rpartition(".")[2]))
            await self.everybody_claims()

    async def replicate(self) -> None:
        """What a replica has that will get no further writes."""
        self.replica = await self.world.dump(), copy.deepcopy(self.model)

    async def fail_over(self, everybody_claims: bool) -> None:
        """That replica is made the master. Owners that it knows, and none outranks, may come back within its grace."""
        assert self.replica is not None
        (dump, model), self.replica = self.replica, None
        await self.world.restore(dump)
        self.model = copy.deepcopy(model)
        self.has_lost_data = self.has_failed_over = True
        self.last_mine.clear()
        self.world.clock.now += MORE_THAN_GRANTS_IN_A_MS
        await self.world.touch()
        newest = self.newest_owners()
        states = [state for room in ROOMS if (state := await self.look(room)) is not None]
        known = {state.sid: (state.owner, state.fence) for state in states if state.sid not in self.model.finished}
        self.protect({sid: owner for sid, owner in newest.items() if known.get(sid) == owner})
        self.protected_until = await self.world.grace_until()
        self.reached.add("failed over")
        if everybody_claims:
            await self.everybody_claims()

    def newest_owners(self) -> dict[str, tuple[str, int]]:
        """For each life held who has the greatest fence, if its lease had not ended when the data was lost."""
        owners = {}
        for room in ROOMS:
            claims = [(carrier.held[room].fence, carrier) for carrier in self.carriers if room in carrier.held]
            if claims:
                fence, newest = max(claims, key=lambda claim: claim[0])
                if newest.until[room] > self.world.clock.now:
                    owners[newest.held[room].sid] = (newest.id, fence)
        return owners

    def protect(self, owners: Mapping[str, tuple[str, int]]) -> None:
        self.protected = dict(owners)
        self.protected_until = self.world.clock.now + self.world.times.ttl_ms

    async def everybody_claims(self) -> None:
        for index in range(len(self.carriers)):
            await self.claim(index, is_heard=True)

    def age(self, life: Life) -> int:
        return [other.sid for other in reversed(self.lives[life.room])].index(life.sid)

    async def expire(self, number: int) -> None:
        """Redis forgets a key whose time to live has passed: by its own clock, which tests do not move."""
        keys = await self.world.expiring(EXPIRING)
        if not keys:
            return
        kind, _, name = (key := keys[number % len(keys)]).partition(":")
        await self.world.redis.delete(self.world.key(key))
        self.world.clock.now += MORE_THAN_GRANTS_IN_A_MS
        match kind:
            case "finished":
                self.model.finished.discard(name)
            case "memory":
                self.model.memory.pop(name, None)
            case "drained":
                self.model.drained.discard(name)
            case "room":
                del self.model.known[name]
                self.model.hung_up.discard(name)

    async def retry(self, room: str) -> None:
        state = await self.look(room)
        lifted = await self.world.rooms.retry(room)
        assert lifted == (state is not None and state.quarantined_unix_ms is not None)

    async def hangup(self, room: str) -> None:
        known = self.model.known.get(room)

        answer = await self.world.rooms.hangup(room)

        state = await self.look(room)
        is_over = known is None or known.life.sid in self.model.finished
        if answer is HangUp.NOBODY:
            assert is_over or (state is not None and state.owner is None and not state.callers)
            return
        assert known is not None and state is not None and not is_over
        self.model.hung_up.add(room)
        if answer is HangUp.ASKED:
            assert state.owner is not None and state.next is None
            self.reached.add("asked to hang up")
        else:
            assert state.standing in {Standing.RESTED, Standing.QUARANTINED}
            self.model.memory.pop(state.sid, None)

    async def stray(self, room: str, age: int, shown: str) -> None:
        life = self.life(room, age)
        before = await self.look(room)
        fence = {"none": None, "last": before.fence if before else 0, "old": 1}[shown]
        who = f"{life.sid}.agent"

        must_go = await self.world.rooms.stray(room, life.sid, who, fence)

        state, now = await self.look(room), self.world.clock.now
        sights = self.sights.setdefault(who, [])
        sights.append(now)
        if must_go:
            # Never an owner; never in a grace, nor the last owner holding out; and only who was seen before.
            assert state is None or state.owner is None
            assert now >= await self.world.grace_until()
            assert any(now - 60_000 <= at <= now - 4000 for at in sights)
            if state is not None and state.sid == life.sid and state.fence == fence:
                assert state.standing not in {Standing.WAITING, Standing.BACKING_OFF, Standing.HELD_BACK}
            self.reached.add("stray")

    async def ending(self) -> None:
        """Nobody is forgotten: with all carriers gone, a fresh one gets every room where somebody waits. Survives."""
        await self.world.pass_ms(30_000, sweep=True)
        while isinstance(await self.world.rooms.claim_next("fresh", capacity=100), Grant):
            pass
        for room in ROOMS:
            state = await self.look(room)
            if state is not None and state.callers:
                assert state.owner == "fresh" or state.standing in {Standing.RESTED, Standing.QUARANTINED}
            assert state is None or state.next is None
