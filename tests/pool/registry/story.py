"""A story of several rooms and carriers, acted on real room state, and the rules that must hold in it.

What must hold after each step is written down under `rules_hold`, or in the verb it belongs to. Each says whether it
survives the loss of Redis' data; those that do not are forgotten by `lose_data`.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from pool.contract import Arrived, Finished, Left
from pool.registry import Again, Gone, Grant, Held, NoGrant, Noted, Release, Renewal, Rested, RoomState, Standing
from tests.pool.registry.world import World

ROOMS = ("a", "b", "c")
CARRIERS = 3
CAPACITY = 2


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a room's name, as LiveKit would have made it."""

    room: str
    sid: str
    created: int

    def participant(self, number: int) -> tuple[str, int]:
        return f"{self.sid}.{number}", self.created + number


@dataclass(slots=True)
class Known:
    """What Redis must know of a room's name, told by notes, renewals and releases alone."""

    life: Life
    callers: dict[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Holder:
    """A carrier as it sees itself: what it was granted and not yet told to have lost."""

    id: str
    held: dict[str, Grant] = field(default_factory=dict)
    until: dict[str, int] = field(default_factory=dict)


class Story:
    """Acts on room state, remembers what must follow, and checks it.

    Each verb is a method that hypothesis may call at any time; `rules_hold` is checked after each, `ending` at last.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.numbers = itertools.count(1)
        self.lives: dict[str, list[Life]] = {room: [] for room in ROOMS}
        self.known: dict[str, Known] = {}
        self.finished: set[str] = set()
        self.carriers = [self.new_carrier() for _ in range(CARRIERS)]
        self.last_fence: dict[str, int] = {}
        self.history: list[Grant] = []
        self.has_lost_data = False
        self.protected: dict[str, str] = {}  # sid of a life to the carrier that may come back for it
        self.protected_until = 0

    async def begin(self) -> None:
        await self.world.lose_data()
        await self.world.settle()
        for room in ROOMS:
            self.open_life(room, as_old=False)

    def new_carrier(self) -> Holder:
        return Holder(f"carrier-{next(self.numbers)}")

    def life(self, room: str, age: int) -> Life:
        lives = self.lives[room]
        return lives[max(0, len(lives) - 1 - age)]

    async def look(self, room: str) -> RoomState | None:
        return await self.world.rooms.look(room)

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
        known = self.known.get(life.room)

        answer = await self.world.rooms.note(Arrived(life.room, life.sid, life.created, who, joined))

        if life.sid in self.finished:
            assert answer is Noted.FINISHED
            return
        if known is None or (known.life.sid != life.sid and life.created >= known.life.created):
            known = self.known[life.room] = Known(life)
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
        known = self.known.get(life.room)

        answer = await self.world.rooms.note(Left(life.room, life.sid, who))

        if life.sid in self.finished:
            assert answer is Noted.FINISHED
        elif known is None:
            assert answer is Noted.ABSENT
            self.known[life.room] = Known(Life(life.room, life.sid, 0), gone={who})
        elif known.life.sid != life.sid:
            assert answer is Noted.STALE
        else:
            known.callers.pop(who, None)
            known.gone.add(who)

    async def finish(self, room: str, age: int) -> None:
        life = self.life(room, age)
        known = self.known.get(life.room)

        await self.world.rooms.note(Finished(life.room, life.sid))

        self.finished.add(life.sid)
        if known is not None and known.life.sid == life.sid:
            known.callers.clear()
        self.protected.pop(life.sid, None)

    # -- What carriers do

    async def claim(self, index: int) -> None:
        carrier = self.carriers[index]
        waiting = [
            wanted for room, wanted in (await self.world.scores("waiting")).items() if await self.may(carrier, room)
        ]
        if len(carrier.held) >= CAPACITY:  # it knows better than a Redis that lost its data
            return

        answer = await self.world.rooms.claim_next(carrier.id, capacity=CAPACITY)

        if not isinstance(answer, Grant):
            assert answer is NoGrant.FULL or not waiting
            return
        # Age order: nobody who waited longer was passed over. (A lease of its own that ended is noticed by the claim.)
        assert all(answer.wanted_unix_ms <= wanted for wanted in waiting)
        # Fences rise with every grant of a name. Survives the loss of Redis' data, as time rises.
        assert answer.fence > self.last_fence.get(answer.room, 0)
        # A finished life is never granted. Ends with the loss of the tombstones.
        assert answer.sid not in self.finished
        # Only who is noted as present, in the life with the greatest creation time.
        known = self.known[answer.room]
        assert (answer.sid, answer.created_unix_ms, answer.callers) == (
            known.life.sid,
            known.life.created,
            known.callers,
        )
        assert answer.callers
        # Nobody's call is reshuffled while its owner may come back.
        if self.world.clock.now < self.protected_until:
            assert answer.sid not in self.protected
        self.last_fence[answer.room] = answer.fence
        self.history.append(answer)
        carrier.held[answer.room] = answer
        carrier.until[answer.room] = self.world.clock.now + answer.ttl_ms

    async def may(self, carrier: Holder, room: str) -> bool:
        """Whether this carrier is not barred from a room that waits."""
        state = await self.look(room)
        return state is None or state.bars.get(carrier.id, 0) <= state.now_unix_ms

    async def renew(self, index: int, sees: set[int]) -> None:
        carrier = self.carriers[index]
        grants = list(carrier.held.values())
        held = [
            Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, self.seen(grant, sees)) for grant in grants
        ]

        answers = await self.world.rooms.renew(carrier.id, held)

        for grant, said, answer in zip(grants, held, answers, strict=True):
            self.learn(carrier, grant, said, answer)
            if answer is Renewal.OVER:
                await self.world.rooms.release(carrier.id, grant.room, grant.fence, Gone({}))

    def seen(self, grant: Grant, places: set[int]) -> dict[str, int]:
        life = Life(grant.room, grant.sid, grant.created_unix_ms)
        return dict(life.participant(place) for place in places)

    def learn(self, carrier: Holder, grant: Grant, said: Held, answer: Renewal | Exception) -> None:
        # An owner that renews in the grace keeps its room, also after a loss.
        if self.protected.get(grant.sid) == carrier.id:
            assert answer is Renewal.MINE or self.world.clock.now >= self.protected_until
        if answer is not Renewal.MINE:
            del carrier.held[grant.room], carrier.until[grant.room]
            return
        carrier.until[grant.room] = self.world.clock.now + grant.ttl_ms
        known = self.known.get(grant.room)
        if known is None or known.life.sid != grant.sid:
            known = self.known[grant.room] = Known(Life(grant.room, grant.sid, grant.created_unix_ms))
        known.life = Life(grant.room, grant.sid, grant.created_unix_ms)
        known.callers.update({who: joined for who, joined in said.callers.items() if who not in known.gone})

    async def release(self, index: int, pick: int, how: str, served: set[int]) -> None:
        carrier = self.carriers[index]
        if not carrier.held:
            return
        grant = list(carrier.held.values())[pick % len(carrier.held)]
        whom = self.seen(grant, served)
        ways: dict[str, Release] = {
            "again": Again(failed=False),
            "failed": Again(failed=True, bar_ms=500),
            "excused": Again(failed=True, counts=False),
            "rested": Rested(whom),
            "gone": Gone(whom),
        }

        was_mine = await self.world.rooms.release(carrier.id, grant.room, grant.fence, ways[how])

        del carrier.held[grant.room], carrier.until[grant.room]
        self.protected.pop(grant.sid, None)
        known = self.known.get(grant.room)
        if was_mine and how == "gone" and known is not None and known.life.sid == grant.sid:
            known.gone |= set(whom)
            known.callers = {who: joined for who, joined in known.callers.items() if who not in whom}

    def crash(self, index: int) -> None:
        """The process is gone; the one that starts in its place has another id."""
        self.carriers[index] = self.new_carrier()

    async def act_with_a_stale_fence(self, number: int, how: Release) -> None:
        """Whoever shows a fence below the stored one changes nothing. Survives the loss of data."""
        if not self.history:
            return
        grant = self.history[number % len(self.history)]
        state = await self.look(grant.room)
        if state is None or state.fence <= grant.fence:
            return
        before = await self.world.snapshot()

        held = Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, grant.callers)
        [renewal] = await self.world.rooms.renew("stale", [held])
        assert renewal in {Renewal.LOST, Renewal.OVER}
        assert not await self.world.rooms.release("stale", grant.room, grant.fence, how)
        assert await self.world.snapshot() == before

    # -- Time, people and Redis

    async def pass_time(self, ms: int, sweep: bool) -> None:
        """Time in which Redis is in use."""
        await self.world.pass_ms(ms, sweep=sweep)

    async def be_silent(self, ms: int, everybody_claims: bool) -> None:
        """Nobody reaches Redis for more than half a ttl. Whoever was owner then may come back first."""
        owners = {}
        for room in ROOMS:
            state = await self.look(room)
            if state is not None and state.owner is not None and state.sid not in self.finished:
                owners[state.sid] = state.owner
        self.world.silence(ms)
        await self.world.touch()
        self.protect(owners)
        if everybody_claims:
            await self.everybody_claims()

    async def lose_data(self, everybody_claims: bool) -> None:
        """Redis comes back empty, and hears of the rooms again before their owners renew."""
        present = [(known.life, who) for known in self.known.values() for who in known.callers]
        await self.world.lose_data()
        self.world.clock.now += 10  # more than there were grants within one millisecond
        await self.world.touch()
        self.has_lost_data = True
        self.known.clear()
        self.finished.clear()
        self.protect(self.newest_owners())
        if everybody_claims:
            for life, who in present:
                await self.arrive(life.room, self.age(life), int(who.rpartition(".")[2]))
            await self.everybody_claims()

    def newest_owners(self) -> dict[str, str]:
        """For each life held the carrier with the greatest fence, if its lease had not ended when the data was lost."""
        owners = {}
        for room in ROOMS:
            claims = [(carrier.held[room].fence, carrier) for carrier in self.carriers if room in carrier.held]
            if claims:
                _, newest = max(claims, key=lambda claim: claim[0])
                if newest.until[room] > self.world.clock.now:
                    owners[newest.held[room].sid] = newest.id
        return owners

    def protect(self, owners: Mapping[str, str]) -> None:
        self.protected = dict(owners)
        self.protected_until = self.world.clock.now + self.world.times.ttl_ms

    async def everybody_claims(self) -> None:
        for index in range(len(self.carriers)):
            await self.claim(index)

    def age(self, life: Life) -> int:
        return [other.sid for other in reversed(self.lives[life.room])].index(life.sid)

    async def retry(self, room: str) -> None:
        state = await self.look(room)
        lifted = await self.world.rooms.retry(room)
        assert lifted == (state is not None and state.quarantined_unix_ms is not None)

    # -- What always holds

    async def rules_hold(self) -> None:
        """Each of the rules below, on one reading of Redis."""
        states, scores = await self.reading()
        self.redis_knows_who_is_there(states)
        self.whoever_is_there_is_cared_for(states, scores["waiting"], scores["due"])
        await self.leases_are_within_capacity(states)
        self.at_most_one_carrier_may_speak()

    async def reading(self) -> tuple[dict[str, RoomState | None], dict[str, dict[str, int]]]:
        states = {room: await self.world.rooms.look(room) for room in ROOMS}
        return states, {name: await self.world.scores(name) for name in ("waiting", "due")}

    def redis_knows_who_is_there(self, states: Mapping[str, RoomState | None]) -> None:
        """Life and callers are those that were noted. Survives: after a loss, those noted or told since."""
        for room, state in states.items():
            known = self.known.get(room)
            assert (state is None) == (known is None)
            if state is not None and known is not None:
                assert (state.sid, state.created_unix_ms) == (known.life.sid, known.life.created)
                assert state.callers == known.callers

    def whoever_is_there_is_cared_for(
        self, states: Mapping[str, RoomState | None], waiting: Mapping[str, int], due: Mapping[str, int]
    ) -> None:
        """Who has a caller is owned, waits, is due, rests or is quarantined, and in the set that says so. Survives."""
        for room, state in states.items():
            assert not (room in waiting and room in due)
            if state is None:
                assert room not in {*waiting, *due}
                continue
            match state.standing:
                case Standing.OWNED | Standing.LAPSED:
                    assert due[room] >= (state.until_unix_ms or 0)
                case Standing.WAITING | Standing.BACKING_OFF | Standing.HELD_BACK:
                    assert room in waiting or room in due
                case Standing.RESTED:
                    assert not any(
                        joined > (state.rested_upto_unix_ms or 0) and who not in state.rested_sids
                        for who, joined in state.callers.items()
                    )
                case Standing.QUARANTINED | Standing.ABSENT | Standing.FINISHED:
                    assert room not in waiting
                case _:
                    assert_never(state.standing)

    async def leases_are_within_capacity(self, states: Mapping[str, RoomState | None]) -> None:
        """What Redis has a carrier own was granted to it, is within its capacity, and is what `in_use` counts.

        Survives, because a carrier claims only when it has a slot itself.
        """
        owned: dict[str, set[str]] = {}
        for room, state in states.items():
            if state is not None and state.owner is not None:
                owned.setdefault(state.owner, set()).add(room)
        for carrier, rooms in owned.items():
            assert len(rooms) <= CAPACITY
            assert rooms == await self.world.members(f"held:{carrier}")
        for alive in self.carriers:
            assert owned.get(alive.id, set()) <= set(alive.held)

    def at_most_one_carrier_may_speak(self) -> None:
        """Of one life of a room at most one carrier holds a lease it may still count on, by its own clock.

        Does not survive: an owner that had lost its room unheard may restore it before its successor renews. The
        successor's greater fence wins at its next renewal, and LiveKit's rule about identities clears away the other.
        """
        if self.has_lost_data:
            return
        now = self.world.clock.now
        live = [
            (room, grant.sid)
            for carrier in self.carriers
            for room, grant in carrier.held.items()
            if carrier.until[room] > now
        ]
        assert len(live) == len(set(live))

    async def ending(self) -> None:
        """Nobody is forgotten: with all carriers gone, a fresh one gets every room where somebody waits. Survives."""
        await self.world.pass_ms(20_000, sweep=True)
        while isinstance(await self.world.rooms.claim_next("fresh", capacity=100), Grant):
            pass
        for room in ROOMS:
            state = await self.look(room)
            if state is not None and state.callers:
                assert state.owner == "fresh" or state.standing in {Standing.RESTED, Standing.QUARANTINED}
        assert not (await self.world.rooms.counters()).get("set_aside_rooms")
