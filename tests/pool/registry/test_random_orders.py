"""Room state under random orders of every verb, by several carriers, over lives of a name, with loss of Redis' data.

What must hold after each step is written down under `rules_hold`, or in the verb it belongs to. Each says whether it
survives the loss of Redis' data; those that do not are forgotten by `lose_data`.
"""

import asyncio
import itertools
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, assert_never

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pool.contract import Arrived, Finished, Left
from pool.registry import Again, Gone, Grant, Held, Noted, Refusal, Release, Renewal, Rested, RoomState, Standing
from pool.registry.connect import lease_redis
from tests.pool.registry.world import World

ROOMS = ("a", "b", "c")
CAPACITY = 2
PLACES = st.integers(0, 2)
LIFE = st.integers(0, 99)

T = TypeVar("T")


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


class Story(RuleBasedStateMachine):
    """See the module."""

    url: str
    prefix: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World(lease_redis(self.url), self.prefix)
        self.numbers = itertools.count(1)
        self.lives: list[Life] = []
        self.known: dict[str, Known] = {}
        self.finished: set[str] = set()
        self.carriers = [self.new_carrier() for _ in range(3)]
        self.last_fence: dict[str, int] = {}
        self.history: list[Grant] = []
        self.has_lost_data = False
        self.protected: dict[str, tuple[str, Grant]] = {}
        self.protected_until = 0
        self.run(self.world.lose_data())
        self.run(self.world.settle())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def new_carrier(self) -> Holder:
        return Holder(f"carrier-{next(self.numbers)}")

    def life(self, number: int) -> Life:
        return self.lives[number % len(self.lives)]

    def look(self, room: str) -> RoomState | None:
        return self.run(self.world.rooms.look(room))

    # -- What LiveKit does and says

    @initialize()
    def first_lives(self) -> None:
        for room in ROOMS:
            self.open_life(room, as_old=False)

    @rule(room=st.sampled_from(ROOMS), as_old=st.booleans())
    def open_life(self, room: str, as_old: bool) -> None:
        """A name begins a new life, now and then in the very millisecond of the one before."""
        before = [life for life in self.lives if life.room == room]
        self.world.clock.now += 1
        created = before[-1].created if as_old and before else self.world.clock.now
        self.lives.append(Life(room, f"RM_{next(self.numbers)}", created))

    @rule(number=LIFE, place=PLACES)
    def arrive(self, number: int, place: int) -> None:
        life = self.life(number)
        who, joined = life.participant(place)
        known = self.known.get(life.room)

        answer = self.run(self.world.rooms.note(Arrived(life.room, life.sid, life.created, who, joined)))

        if life.sid in self.finished:
            assert answer is Noted.FINISHED
            return
        if known is None or (known.life.sid != life.sid and life.created >= known.life.created):
            known = self.known[life.room] = Known(life)
            if life.room in self.protected:
                del self.protected[life.room]
        if known.life.sid != life.sid:
            assert answer is Noted.STALE  # the greater creation time wins a name
        elif who in known.gone:
            assert answer is Noted.GONE
        else:
            known.life = life  # its creation may have been unknown
            known.callers[who] = joined
            assert answer in {Noted.WAITING, Noted.OWNED, Noted.RESTED, Noted.QUARANTINED}

    @rule(number=LIFE, place=PLACES)
    def leave(self, number: int, place: int) -> None:
        life = self.life(number)
        who, _ = life.participant(place)
        known = self.known.get(life.room)

        answer = self.run(self.world.rooms.note(Left(life.room, life.sid, who)))

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

    @rule(number=LIFE)
    def finish(self, number: int) -> None:
        life = self.life(number)
        known = self.known.get(life.room)

        self.run(self.world.rooms.note(Finished(life.room, life.sid)))

        self.finished.add(life.sid)
        if known is not None and known.life.sid == life.sid:
            known.callers.clear()
        if life.room in self.protected and self.protected[life.room][1].sid == life.sid:
            del self.protected[life.room]

    # -- What carriers do

    @rule(index=PLACES)
    def claim(self, index: int) -> None:
        carrier = self.carriers[index]
        waiting = self.run(self.world.scores("waiting"))
        if len(carrier.held) >= CAPACITY:  # it knows better than a Redis that lost its data
            return

        answer = self.run(self.world.rooms.claim_next(carrier.id, capacity=CAPACITY))

        if not isinstance(answer, Grant):
            assert answer is Refusal.FULL or not waiting
            return
        # Age order: nobody who waited longer was passed over.
        assert answer.wanted_unix_ms == min(waiting.values())
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
        # Nobody's call is reshuffled while its owner may come back after a loss.
        if self.world.clock.now < self.protected_until:
            assert answer.room not in self.protected
        self.last_fence[answer.room] = answer.fence
        self.history.append(answer)
        carrier.held[answer.room] = answer
        carrier.until[answer.room] = self.world.clock.now + answer.ttl_ms

    @rule(index=PLACES, sees=st.sets(PLACES))
    def renew(self, index: int, sees: set[int]) -> None:
        carrier = self.carriers[index]
        grants = list(carrier.held.values())
        held = [
            Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, self.seen(grant, sees)) for grant in grants
        ]

        answers = self.run(self.world.rooms.renew(carrier.id, held))

        for grant, said, answer in zip(grants, held, answers, strict=True):
            self.learn(carrier, grant, said, answer)

    def seen(self, grant: Grant, places: set[int]) -> dict[str, int]:
        life = Life(grant.room, grant.sid, grant.created_unix_ms)
        return dict(life.participant(place) for place in places)

    def learn(self, carrier: Holder, grant: Grant, said: Held, answer: Renewal | Exception) -> None:
        # After a loss, an owner that renews keeps its room.
        if grant.room in self.protected and self.protected[grant.room] == (carrier.id, grant):
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

    @rule(index=PLACES, pick=PLACES, how=st.sampled_from(["again", "failed", "rested", "gone"]), served=st.sets(PLACES))
    def release(self, index: int, pick: int, how: str, served: set[int]) -> None:
        carrier = self.carriers[index]
        if not carrier.held:
            return
        grant = list(carrier.held.values())[pick % len(carrier.held)]
        whom = self.seen(grant, served)
        ways: dict[str, Release] = {
            "again": Again(failed=False),
            "failed": Again(failed=True, bar_ms=500),
            "rested": Rested(whom),
            "gone": Gone(whom),
        }

        was_mine = self.run(self.world.rooms.release(carrier.id, grant.room, grant.fence, ways[how]))

        del carrier.held[grant.room], carrier.until[grant.room]
        known = self.known.get(grant.room)
        if was_mine and how == "gone" and known is not None and known.life.sid == grant.sid:
            known.gone |= set(whom)
            known.callers = {who: joined for who, joined in known.callers.items() if who not in whom}

    @rule(index=PLACES)
    def crash(self, index: int) -> None:
        """The process is gone; the one that starts in its place has another id."""
        self.carriers[index] = self.new_carrier()

    @precondition(lambda self: self.history)
    @rule(number=LIFE, how=st.sampled_from([Again(failed=True), Again(failed=False), Rested({}), Gone({})]))
    def act_with_a_stale_fence(self, number: int, how: Release) -> None:
        """Whoever shows a fence below the stored one changes nothing. Survives the loss of data."""
        grant = self.history[number % len(self.history)]
        state = self.look(grant.room)
        if state is None or state.fence <= grant.fence:
            return
        before = self.run(self.world.snapshot())

        held = Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, grant.callers)
        [renewal] = self.run(self.world.rooms.renew("stale", [held]))
        assert renewal in {Renewal.LOST, Renewal.OVER}
        assert not self.run(self.world.rooms.release("stale", grant.room, grant.fence, how))
        assert self.run(self.world.snapshot()) == before

    # -- Time, people and Redis

    @rule()
    def sweep(self) -> None:
        self.run(self.world.rooms.due())

    @rule(ms=st.integers(1, 4000))
    def pass_time(self, ms: int) -> None:
        self.run(self.world.pass_ms(ms))

    @rule(ms=st.integers(1, 8000))
    def silence(self, ms: int) -> None:
        self.world.silence(ms)

    @rule(room=st.sampled_from(ROOMS))
    def retry(self, room: str) -> None:
        state = self.look(room)
        lifted = self.run(self.world.rooms.retry(room))
        assert lifted == (state is not None and state.quarantined_unix_ms is not None)

    @rule()
    def lose_data(self) -> None:
        """Redis comes back empty; somebody touches it before the owners do."""
        self.run(self.world.lose_data())
        self.world.clock.now += 10  # more than there were grants within one millisecond
        self.run(self.world.touch())
        self.has_lost_data = True
        self.known.clear()
        self.finished.clear()
        self.protected_until = self.world.clock.now + self.world.times.ttl_ms
        self.protected = {}
        for room in ROOMS:
            claims = [(carrier.held[room].fence, carrier) for carrier in self.carriers if room in carrier.held]
            if claims:
                _, newest = max(claims, key=lambda claim: claim[0])
                if newest.until[room] > self.world.clock.now:
                    self.protected[room] = (newest.id, newest.held[room])

    # -- What always holds

    @invariant()
    def rules_hold(self) -> None:
        """Each of the rules below, on one reading of Redis."""
        states, scores = self.run(self.reading())
        self.redis_knows_who_is_there(states)
        self.whoever_is_there_is_cared_for(states, scores["waiting"], scores["due"])
        self.leases_are_within_capacity(states)
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

    def leases_are_within_capacity(self, states: Mapping[str, RoomState | None]) -> None:
        """What Redis has a carrier own was granted to it, is within its capacity, and is what `in_use` counts.

        Survives, because a carrier claims only when it has a slot itself.
        """
        owned: dict[str, set[str]] = {}
        for room, state in states.items():
            if state is not None and state.owner is not None:
                owned.setdefault(state.owner, set()).add(room)
        for carrier, rooms in owned.items():
            assert len(rooms) <= CAPACITY
            assert rooms == self.run(self.world.members(f"held:{carrier}"))
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

    def teardown(self) -> None:
        """Nobody is forgotten: with all carriers gone, a fresh one gets every room where somebody waits. Survives."""
        try:
            if not self.lives:
                return
            self.run(self.world.touch())
            self.run(self.world.pass_ms(20_000, sweep=True))
            while isinstance(self.run(self.world.rooms.claim_next("fresh", capacity=100)), Grant):
                pass
            for room in ROOMS:
                state = self.look(room)
                if state is not None and state.callers:
                    assert state.owner == "fresh" or state.standing in {Standing.RESTED, Standing.QUARANTINED}
            assert not self.run(self.world.rooms.counters()).get("set_aside_rooms")
        finally:
            self.run(self.world.redis.aclose())
            self.runner.close()


def test_random_orders_of_every_verb(redis_url: str, redis_prefix: str) -> None:
    """Whatever happens in whatever order, the rules of ownership hold."""

    class Here(Story):
        url = redis_url
        prefix = redis_prefix

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
