"""Room state under every verb in any order: several carriers, several lives of a name, time, losses of Redis' data.

Time passes by the clock that the scripts are given; what Redis forgets by its own clock, the rule `expire` deletes.
Each invariant says whether it survives what Redis may do: come back empty (a loss of data), or come back as an older
replica of itself (a failover with writes that were not replicated).
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import assert_never

import pytest
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

from pool.registry import Again, Gone, Rested, Standing
from pool.registry.connect import lease_redis
from tests.pool.registry.model import MOST_TEXT_BYTES, MOST_TEXTS, Reading
from tests.pool.registry.story import CAPACITY, CARRIERS, ROOMS, Story
from tests.pool.registry.world import World

room = st.sampled_from(ROOMS)
carrier = st.integers(0, CARRIERS - 1)
place = st.integers(0, 2)
age = st.sampled_from([0, 0, 0, 0, 1, 2])  # how many lives ago: mostly the present one
mostly = st.sampled_from([True, True, True, False])
how_released = st.sampled_from(["again", "failed", "excused", "rested", "gone"])
twist = st.sampled_from(["none", "none", "race", "decline", "withdraw"])
stale_release = st.sampled_from([Again(failed=True), Again(failed=False), Rested({}), Gone({})])

REACHED = {"offered", "stood ready", "passed", "taken over", "expected", "stray", "reaped", "failed over"}
"""What the machine must come to, or it has proved nothing of it."""

MAX_RUNS = 5
"""Orders are random: a run may miss the rarest of those."""


class Ownership(RuleBasedStateMachine):
    """Rules are what may happen; invariants are what holds after each. Made for one run by `machine_on`."""

    runner: asyncio.Runner
    world: World
    reached: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.story = Story(World(self.world.redis, self.world.prefix, url=self.world.url))
        self.now: Reading

    def act(self, *steps: Coroutine[object, object, None]) -> None:
        for step in steps:
            self.runner.run(step)
        self.now = self.runner.run(self.story.reading())

    def teardown(self) -> None:
        self.reached.update(self.story.reached)
        if sys.exc_info()[0] is None:
            self.runner.run(self.story.ending())

    # -- What LiveKit does and says

    @initialize(claims=st.lists(carrier, min_size=2, max_size=4))
    def begin(self, claims: list[int]) -> None:
        self.act(self.story.begin(), *(self.story.claim(index, is_heard=True) for index in claims))

    @rule(name=room, as_old=st.booleans())
    def a_new_life(self, name: str, as_old: bool) -> None:
        self.story.open_life(name, as_old)
        self.act(self.story.arrive(name, 0, 0))

    @rule(name=room, age=age, is_new=st.booleans())
    def a_room_is_opened(self, name: str, age: int, is_new: bool) -> None:
        if is_new:
            self.story.open_life(name, as_old=False)
        self.act(self.story.expect(name, 0 if is_new else age))

    @rule(name=room, age=age, place=place, is_there=mostly)
    def come_or_go(self, name: str, age: int, place: int, is_there: bool) -> None:
        self.act(self.story.arrive(name, age, place) if is_there else self.story.leave(name, age, place))

    @rule(name=room, age=age)
    def finish(self, name: str, age: int) -> None:
        self.act(self.story.finish(name, age))

    # -- What carriers do

    @rule(index=carrier, is_heard=mostly)
    def claim(self, index: int, is_heard: bool) -> None:
        self.act(self.story.claim(index, is_heard))

    @rule(index=carrier, sees=st.sets(place), is_heard=mostly)
    def renew(self, index: int, sees: set[int], is_heard: bool) -> None:
        self.act(self.story.renew(index, sees, is_heard))

    @rule(index=carrier, pick=place, how=how_released, served=st.sets(place))
    def release(self, index: int, pick: int, how: str, served: set[int]) -> None:
        self.act(self.story.release(index, pick, how, served))

    @rule(index=carrier, pick=place, number=st.sampled_from([1, 3, 45]), length=st.sampled_from([50, 3000]))
    def remember(self, index: int, pick: int, number: int, length: int) -> None:
        self.act(self.story.remember(index, pick, number, length))

    @rule(index=carrier, draining=st.booleans())
    def beat(self, index: int, draining: bool) -> None:
        self.act(self.story.beat(index, draining))

    @rule(index=carrier, is_reaped=mostly)
    def crash(self, index: int, is_reaped: bool) -> None:
        self.act(self.story.crash(index, is_reaped))

    @rule(number=st.integers(0, 5), how=stale_release)
    def act_with_a_stale_fence(self, number: int, how: Again | Rested | Gone) -> None:
        self.act(self.story.act_with_a_stale_fence(number, how))

    # -- Handing over

    @rule(index=carrier, pick=place)
    def offer(self, index: int, pick: int) -> None:
        self.act(self.story.offer(index, pick))

    @rule(index=carrier, how=st.sampled_from(["ready", "ready", "wait", "decline"]))
    def attend(self, index: int, how: str) -> None:
        self.act(self.story.attend(index, how))

    @rule(index=carrier, pick=place)
    def withdraw(self, index: int, pick: int) -> None:
        self.act(self.story.withdraw(index, pick))

    @rule(index=carrier, pick=place, is_heard=mostly)
    def pass_on(self, index: int, pick: int, is_heard: bool) -> None:
        self.act(self.story.pass_on(index, pick, is_heard))

    @rule(index=carrier, pick=place, is_heard=st.booleans(), twist=twist)
    def hand_over(self, index: int, pick: int, is_heard: bool, twist: str) -> None:
        self.act(self.story.hand_over(index, pick, is_heard, twist))

    # -- Time, people and Redis

    @rule(ms=st.integers(1, 4000), sweep=st.booleans())
    def pass_time(self, ms: int, sweep: bool) -> None:
        self.act(self.story.pass_time(ms, sweep))

    @rule(ms=st.sampled_from([900, 900, 4000, 10_500]))
    def live(self, ms: int) -> None:
        self.act(self.story.live(ms))

    @rule(ms=st.integers(1501, 8000), everybody_claims=st.booleans())
    def be_silent(self, ms: int, everybody_claims: bool) -> None:
        self.act(self.story.be_silent(ms, everybody_claims))

    @rule(everybody_claims=st.booleans())
    def lose_data(self, everybody_claims: bool) -> None:
        self.act(self.story.lose_data(everybody_claims))

    @precondition(lambda self: self.story.replica is None)
    @rule()
    def replicate(self) -> None:
        self.act(self.story.replicate())

    @precondition(lambda self: self.story.replica is not None)
    @rule(everybody_claims=st.booleans())
    def fail_over(self, everybody_claims: bool) -> None:
        self.act(self.story.fail_over(everybody_claims))

    @rule(number=st.integers(0, 99))
    def expire(self, number: int) -> None:
        self.act(self.story.expire(number))

    @rule(wish=st.sampled_from(["hang up"] * 4 + ["retry", "drain"]), name=room, index=carrier)
    def a_person_wishes(self, wish: str, name: str, index: int) -> None:
        match wish:
            case "hang up":
                self.act(self.story.hangup(name))
            case "retry":
                self.act(self.story.retry(name))
            case _:
                self.act(self.story.drain(index))

    @rule(name=room, age=age, shown=st.sampled_from(["none", "last", "old"]), is_silent=st.booleans())
    def stray(self, name: str, age: int, shown: str, is_silent: bool) -> None:
        self.act(self.story.stray_stays(name, age, shown, is_silent))

    # -- What always holds

    @invariant()
    def redis_knows_who_is_there(self) -> None:
        """Life and callers are those that were noted. Survives: after a loss or failover, those noted or told since."""
        for name, state in self.now.states.items():
            known = self.story.model.known.get(name)
            assert (state is None) == (known is None)
            if state is not None and known is not None:
                assert (state.sid, state.created_unix_ms) == (known.life.sid, known.life.created)
                assert state.callers == known.callers

    @invariant()
    def whoever_is_there_is_cared_for(self) -> None:
        """Who has a caller is owned, waits, is due, rests or is quarantined, and in the set that says so.

        Survives both: the sets follow from the rooms, whatever is restored.
        """
        waiting, due = self.now.waiting, self.now.due
        for name, state in self.now.states.items():
            assert not (name in waiting and name in due) or (state is not None and not state.callers)
            if state is None:
                assert name not in {*waiting, *due}
                continue
            match state.standing:
                case Standing.OWNED | Standing.LAPSED:
                    assert due[name] >= (state.until_unix_ms or 0)
                case Standing.WAITING | Standing.BACKING_OFF | Standing.HELD_BACK:
                    assert name in waiting or name in due
                case Standing.RESTED:
                    assert not any(
                        joined > (state.rested_upto_unix_ms or 0) and who not in state.rested_sids
                        for who, joined in state.callers.items()
                    )
                case Standing.ABSENT if self.story.model.known[name].expected_until:
                    pass  # an expectation that passed is struck from the index by whoever claims next
                case Standing.QUARANTINED | Standing.ABSENT | Standing.FINISHED:
                    assert name not in waiting
                case _:
                    assert_never(state.standing)

    @invariant()
    def indexes_hold_all_that_is_true(self) -> None:
        """A carrier's `held:` and `standby:` name every room that it owns or is reserved for.

        Survives both. So what counts slots by them never counts too few; what they hold beyond is dropped when read.
        """
        for id_ in self.now.held:
            assert self.now.owned_by(id_) <= self.now.held[id_]
            assert self.now.reserved_for(id_) <= self.now.standby[id_]

    @invariant()
    def carriers_are_within_capacity(self) -> None:
        """Leases and reservations that Redis knows of are no more than the carrier may have.

        After a loss or failover Redis knows less, or of what is over; then what the carrier knows of too is within it,
        because a carrier takes no more than it has slots for by its own count.
        """
        for holder in self.story.carriers:
            owned, reserved = self.now.owned_by(holder.id), self.now.reserved_for(holder.id)
            if self.story.has_lost_data:
                owned, reserved = owned & set(holder.held), reserved & set(holder.asked)
            assert len(owned | reserved) == len(owned) + len(reserved) <= CAPACITY

    @invariant()
    def an_owner_was_granted_what_it_owns(self) -> None:
        """Nobody owns what it was not granted, by an answer heard or not. Survives a loss; after a failover Redis may
        remember a grant that has been given up since."""
        for holder in self.story.carriers:
            if not self.story.has_failed_over:
                assert self.now.owned_by(holder.id) <= {*holder.held, *holder.unheard}

    @invariant()
    def a_fence_is_never_below_one_that_was_granted(self) -> None:
        """The stored fence of an owned room is its greatest.

        Ends with a loss, or with the room's expiry, until the owner has renewed; fences granted after one are greater
        all the same, see `Story.granted`.
        """
        if self.story.has_lost_data:
            return
        for name, state in self.now.states.items():
            if state is not None and state.owner is not None and name not in self.story.forgotten:
                assert state.fence == self.story.last_fence[name]

    @invariant()
    def at_most_one_carrier_may_speak(self) -> None:
        """Of one life of a room at most one carrier holds a lease it may still count on, by its own clock.

        Survives neither: an owner that had lost its room unheard may restore it before its successor renews, and a
        failover may forget a grant. The greater fence wins at its next renewal (`Story.is_right` holds that for good),
        and LiveKit's rule about identities clears away the other.
        """
        if self.story.has_lost_data:
            return
        live = [
            (name, grant.sid)
            for holder in self.story.carriers
            for name, grant in holder.held.items()
            if holder.until[name] > self.now.now
        ]
        assert len(live) == len(set(live))

    @invariant()
    def memory_is_bounded_and_its_owners(self) -> None:
        """What is remembered of a life is what its owners wrote, the last 40 texts and 8 KiB. Survives as far as Redis
        does: a loss forgets it, a failover the latest of it."""
        for name, state in self.now.states.items():
            if state is None:
                continue
            texts = self.now.memory[state.sid]
            assert len(texts) <= MOST_TEXTS
            assert sum(len(text) for text in texts) <= MOST_TEXT_BYTES
            known = self.story.model.known.get(name)
            is_left = known is not None and known.emptied_at is not None and name not in self.now.emptied
            if is_left and known is not None:  # whoever had it after the last caller left is gone
                known.emptied_at = None
                assert not texts
            is_hung_up = name in self.story.model.hung_up  # an owner died after it was asked to end the call
            is_over = state.standing in {Standing.ABSENT, Standing.FINISHED}
            if not texts and (is_left or is_hung_up or is_over):
                self.story.model.memory.pop(state.sid, None)
            assert texts == self.story.model.memory.get(state.sid, [])

    @invariant()
    def a_call_that_was_hung_up_is_not_gone_on_with(self) -> None:
        """Once its owner is gone the room rests for whoever was in it. Survives neither: the wish may be forgotten."""
        for name, served in self.story.model.hung_up.items():
            state = self.now.states[name]
            if state is None or state.owner is not None or self.story.has_failed_over:
                continue
            for who in served & set(state.callers):
                assert who in state.rested_sids or state.callers[who] <= (state.rested_upto_unix_ms or 0)

    @invariant()
    def an_offer_is_its_owners(self) -> None:
        """Nobody stands by for himself, or for a room that nobody owns. Survives both."""
        for state in self.now.states.values():
            if state is not None and state.next is not None:
                assert state.owner is not None
                assert state.next != state.owner

    @invariant()
    def nothing_we_wrote_is_corrupt(self) -> None:
        """No script sets aside, or replaces, what another has written. Survives both."""
        assert not {"set_aside_rooms", "keys_rebuilt"} & self.now.counters


@pytest.fixture
def machine(redis_url: str, redis_prefix: str) -> Iterator[type[Ownership]]:
    """The machine on a Valkey, with a loop for the whole run."""
    counted: Counter[str] = Counter()
    with asyncio.Runner() as loop:
        redis = lease_redis(redis_url)

        class OnValkey(Ownership):
            runner = loop
            world = World(redis, redis_prefix, url=redis_url)
            reached = counted

        yield OnValkey
        loop.run(redis.aclose())


@pytest.mark.timeout(420)  # seconds when all is well; a failure is shrunk for up to five minutes
def test_ownership_in_any_order(machine: type[Ownership]) -> None:
    """Whatever happens in whatever order, the rules of ownership hold."""
    bounds = settings(
        max_examples=60,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    for _ in range(MAX_RUNS):
        run_state_machine_as_test(machine, settings=bounds)
        if set(machine.reached) >= REACHED:
            return
    pytest.fail(f"never reached in {MAX_RUNS} runs: {REACHED - set(machine.reached)}; {machine.reached}")
