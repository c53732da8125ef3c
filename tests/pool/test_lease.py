"""The clockwork of owning a room: every rule of its table, and what holds for any order of things that happen."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.lease import ATTEMPT_LIMIT_S, RIGHTS, Lease, Leave, State
from pool.registry import Renewal

TTL_S, MARGIN_S, HOLD_S, TICK_S = 3.0, 0.3, 120.0, 0.9
UNTIL_S = TTL_S - MARGIN_S
AWAKE_S = TICK_S + ATTEMPT_LIMIT_S + MARGIN_S
ROUNDING_S = 1e-9


def granted(*, connected: bool = True) -> Lease:
    """A lease claimed at 0, in a room that stands."""
    lease = Lease(7, sent_at=0.0, ttl_s=TTL_S, margin_s=MARGIN_S, hold_s=HOLD_S, tick_s=TICK_S)
    if connected:
        lease.room_connected()
    return lease


def fail_until(lease: Lease, end_s: float, *, begin_s: float = 0.9, every_s: float = 0.5) -> float:
    """Renewals that are refused at once, one after the other; returns when the last one ended."""
    at = begin_s
    while at + every_s <= end_s:
        lease.failed(sent_at=at, now=at + 0.01)
        at += every_s
    lease.failed(sent_at=at, now=at + 0.01)
    return at + 0.01


def test_a_grant_holds_for_its_ttl_less_the_margin_counted_from_before_it_was_sent() -> None:
    """Ours ends before the registry's."""
    lease = granted()
    assert lease.until == UNTIL_S
    assert lease.state(UNTIL_S - 0.001) is State.OWN
    assert lease.state(UNTIL_S) is State.UNSURE


@pytest.mark.parametrize(
    ("state", "speak", "join"),
    [
        (State.OWN, True, True),
        (State.UNSURE, False, False),
        (State.HOLD, True, False),
        (State.PASSED, False, False),
        (State.LOST, False, False),
    ],
)
def test_rights_of_each_state(state: State, speak: bool, join: bool) -> None:
    """Whoever is not sure neither speaks nor joins; whoever holds on only stays."""
    assert (RIGHTS[state].speak, RIGHTS[state].join) == (speak, join)


def test_a_renewal_moves_the_end_by_when_it_was_sent_not_by_when_it_was_answered() -> None:
    """An answer that took long is worth less."""
    lease = granted()
    lease.answered(Renewal.MINE, sent_at=1.0, now=1.9)
    assert lease.until == 1.0 + UNTIL_S


def test_a_late_answer_to_an_older_renewal_does_not_move_the_end_back() -> None:
    """Answers may overtake each other."""
    lease = granted()
    lease.answered(Renewal.MINE, sent_at=1.0, now=1.1)
    lease.answered(Renewal.MINE, sent_at=0.5, now=1.2)
    assert lease.until == 1.0 + UNTIL_S


@pytest.mark.parametrize(
    ("answer", "leave"), [(Renewal.LOST, Leave.LOST), (Renewal.OVER, Leave.OVER)], ids=["lost", "over"]
)
def test_lost_and_over_are_final(answer: Renewal, leave: Leave) -> None:
    """No later answer gives the room back."""
    lease = granted()
    lease.answered(answer, sent_at=1.0, now=1.1)
    lease.answered(Renewal.MINE, sent_at=1.2, now=1.3)
    assert lease.state(1.3) is State.LOST
    assert lease.must_leave(1.3) is leave


@pytest.mark.parametrize("is_told_by_renewal", [True, False], ids=["renewal", "pass"])
def test_a_room_that_was_passed_on_is_silent_at_once_and_for_good(is_told_by_renewal: bool) -> None:
    """Also while the lease would have lasted, and whatever is answered later: the next owner is on its way in."""
    lease = granted()
    if is_told_by_renewal:
        lease.answered(Renewal.PASSED, sent_at=0.5, now=0.6)
    else:
        lease.pass_on()
    for later in (Renewal.MINE, Renewal.LOST, Renewal.OVER):
        lease.answered(later, sent_at=0.7, now=0.8)
        assert lease.state(0.8) is State.PASSED
        assert (lease.may_speak(0.8), lease.may_join(0.8), lease.must_leave(0.8)) == (False, False, Leave.PASSED)


def test_a_wish_to_hang_up_extends_the_lease() -> None:
    """The room is ours until the call has ended by that wish."""
    lease = granted()
    lease.answered(Renewal.HANG_UP, sent_at=1.0, now=1.1)
    assert lease.until == 1.0 + UNTIL_S
    assert lease.must_leave(1.1) is None


def test_a_lease_in_doubt_from_its_start_neither_speaks_nor_joins_before_an_answer() -> None:
    """A room passed to us: until when is known to Redis alone."""
    lease = Lease(7, sent_at=10.0 - TTL_S, ttl_s=TTL_S, margin_s=MARGIN_S, hold_s=HOLD_S, tick_s=TICK_S)
    lease.failed(sent_at=10.0, now=10.1)
    assert (lease.state(10.1), lease.must_leave(10.1)) == (State.UNSURE, None)
    lease.answered(Renewal.MINE, sent_at=10.2, now=10.3)
    assert lease.may_join(10.3)


def test_an_outage_that_is_noticed_turns_into_hold_without_a_gap() -> None:
    """Redis refuses at once: at no moment does the agent fall silent, and it may not join any more."""
    lease = granted()
    last = fail_until(lease, 8.0)
    assert lease.state(last) is State.HOLD
    assert (lease.may_speak(last), lease.may_join(last), lease.must_leave(last)) == (True, False, None)


def test_while_the_lease_lasts_a_failed_attempt_changes_nothing() -> None:
    """Failing is no reason to believe less than the registry has promised."""
    lease = granted()
    lease.failed(sent_at=0.9, now=1.0)
    assert lease.state(1.0) is State.OWN


def test_an_attempt_in_flight_past_the_end_is_unsure_until_it_fails() -> None:
    """A black hole: nobody has told us anything yet, so we are silent for that long and no longer."""
    lease = granted()
    lease.answered(Renewal.MINE, sent_at=0.5, now=0.51)
    sent_at, ends_at = 2.9, 3.9  # until is 3.2
    assert lease.state(3.3) is State.UNSURE
    lease.failed(sent_at=sent_at, now=ends_at)
    assert lease.state(ends_at) is State.HOLD


def test_hold_ends_counted_from_the_last_renewal_that_was_answered() -> None:
    """Then the carrier leaves, and does not speak meanwhile."""
    lease = granted()
    lease.answered(Renewal.MINE, sent_at=1.0, now=1.1)
    fail_until(lease, 1.0 + HOLD_S + 0.6)
    assert lease.must_leave(1.0 + HOLD_S - 0.001) is None
    assert lease.must_leave(1.0 + HOLD_S) is Leave.HOLD_ENDED
    assert not lease.may_speak(1.0 + HOLD_S)


def test_without_hold_the_room_is_left_when_the_lease_ends() -> None:
    """Strict fencing is a hold of nothing."""
    lease = Lease(7, sent_at=0.0, hold_s=0.0)
    lease.room_connected()
    lease.failed(sent_at=2.0, now=2.1)
    assert lease.must_leave(2.6) is None
    assert lease.must_leave(lease.until) is Leave.HOLD_ENDED
    assert not lease.may_speak(lease.until)


def test_an_answer_ends_hold() -> None:
    """Redis is back and the room is still ours."""
    lease = granted()
    last = fail_until(lease, 8.0)
    lease.answered(Renewal.MINE, sent_at=last + 0.1, now=last + 0.2)
    assert lease.state(last + 0.2) is State.OWN


def test_a_room_that_never_stood_cannot_be_held() -> None:
    """Hold rests on having been in the room all along."""
    lease = granted(connected=False)
    last = fail_until(lease, 4.0)
    assert lease.state(last) is State.UNSURE


def test_a_room_whose_connection_broke_cannot_be_held_even_when_it_stands_again() -> None:
    """The network came back before Redis did: somebody may have taken our place in between."""
    lease = granted()
    lease.failed(sent_at=0.9, now=1.0)
    lease.room_left_connected(now=1.5)
    lease.room_connected()
    last = fail_until(lease, 4.0, begin_s=1.6)
    assert lease.state(last) is State.UNSURE


def test_only_a_renewal_sent_after_the_break_heals_it() -> None:
    """An answer to an older one says nothing about what came later."""
    lease = granted()
    lease.room_left_connected(now=1.0)
    lease.answered(Renewal.MINE, sent_at=0.9, now=1.1)
    assert not lease.is_confirmed
    lease.answered(Renewal.MINE, sent_at=1.2, now=1.3)
    lease.room_connected()
    assert lease.is_confirmed
    last = fail_until(lease, 6.0, begin_s=2.0)
    assert lease.state(last) is State.HOLD


def test_frozen_between_renewals_it_is_silent_from_the_first_frame() -> None:
    """Stopped for a minute, nothing in flight: waking up past the end is UNSURE at once."""
    lease = granted()
    assert not lease.may_speak(60.0)
    lease.failed(sent_at=60.0, now=60.01)  # and Redis being away as well does not make it hold
    assert lease.state(60.01) is State.UNSURE


def test_frozen_with_a_renewal_in_flight_it_does_not_hold() -> None:
    """A failure that took a minute is a clock that jumped, not an outage of a minute."""
    lease = granted()
    lease.failed(sent_at=0.9, now=60.0)
    assert lease.state(60.0) is State.UNSURE
    lease.failed(sent_at=60.1, now=60.2)
    assert lease.state(60.2) is State.UNSURE


def test_frozen_while_holding_it_is_silent_from_the_first_frame() -> None:
    """The outage before the freeze is no excuse."""
    lease = granted()
    last = fail_until(lease, 8.0)
    woke_at = last + AWAKE_S + 0.1
    assert lease.state(woke_at) is State.UNSURE
    lease.failed(sent_at=woke_at, now=woke_at + 0.01)
    assert lease.state(woke_at + 0.01) is State.UNSURE


def test_an_answer_that_waited_out_a_freeze_is_worth_nothing() -> None:
    """It was true when Redis sent it, a minute ago."""
    lease = granted()
    lease.answered(Renewal.MINE, sent_at=0.9, now=60.0)
    lease.failed(sent_at=60.1, now=60.2)
    assert lease.state(60.2) is State.UNSURE


def test_a_fresh_answer_ends_the_doubt_of_a_freeze() -> None:
    """Still ours: nobody came meanwhile, and the next outage may be held through again."""
    lease = granted()
    lease.answered(Renewal.MINE, sent_at=60.0, now=60.1)
    assert lease.state(60.1) is State.OWN
    last = fail_until(lease, 66.0, begin_s=61.0)
    assert lease.state(last) is State.HOLD


def test_a_freeze_that_ended_within_the_lease_is_no_freeze() -> None:
    """Whatever we slept through, the room was ours meanwhile."""
    lease = granted()
    lease.failed(sent_at=0.9, now=2.5)
    lease.failed(sent_at=2.6, now=2.65)
    assert lease.state(2.8) is State.HOLD


# What can happen to a lease, each after a stretch of time.


@dataclass(frozen=True)
class Answered:
    """A renewal took `took_s` and was answered."""

    what: Renewal
    took_s: float


@dataclass(frozen=True)
class Failed:
    """A renewal took `took_s` and was not answered."""

    took_s: float


@dataclass(frozen=True)
class Connected:
    """The room stands."""


@dataclass(frozen=True)
class Broke:
    """The room does not stand."""


Step = Answered | Failed | Connected | Broke
moments = st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9, 1.2, 2.0, 2.7, 3.0, 8.0, 60.0, 119.0])
kept = (Renewal.MINE, Renewal.HANG_UP)
answers = st.sampled_from([*kept * 4, Renewal.LOST, Renewal.OVER, Renewal.PASSED])
renewals = st.builds(Answered, answers, moments)
steps = st.one_of(renewals, st.builds(Failed, moments), st.builds(Connected), st.builds(Broke))
stories = st.lists(st.tuples(moments, steps), max_size=25)


def take(lease: Lease, step: Step, *, at: float) -> float:
    """Let a step happen that begins at `at`; returns when it is done."""
    match step:
        case Answered(what, took_s):
            lease.answered(what, sent_at=at, now=at + took_s)
            return at + took_s
        case Failed(took_s):
            lease.failed(sent_at=at, now=at + took_s)
            return at + took_s
        case Connected():
            lease.room_connected()
        case Broke():
            lease.room_left_connected(now=at)
    return at


@settings(deadline=None)  # the machine may be busy
@given(stories)
def test_the_rules_that_hold_in_every_story(story: list[tuple[float, Step]]) -> None:
    """Rights follow the state; the end never moves back and never beyond a renewal; an end is final."""
    lease, now, newest, ended = granted(connected=False), 0.0, 0.0, False
    for pause_s, step in story:
        until, began_at = lease.until, now + pause_s
        now = take(lease, step, at=began_at)
        if isinstance(step, Answered):
            newest = began_at if step.what in kept else newest
            ended = ended or step.what not in kept
        for moment in (now, now + 0.5, now + 5.0, now + 200.0):
            state = lease.state(moment)
            assert lease.may_speak(moment) == (state in (State.OWN, State.HOLD))
            assert lease.may_join(moment) == (state is State.OWN)
            assert (state in (State.LOST, State.PASSED)) == ended
            assert (lease.must_leave(moment) is Leave.PASSED) == (state is State.PASSED)
            assert state is not State.OWN or moment < newest + UNTIL_S + ROUNDING_S
            assert not lease.may_speak(moment) or moment < newest + max(HOLD_S, UNTIL_S) + ROUNDING_S
        assert until <= lease.until <= newest + UNTIL_S + ROUNDING_S


@settings(deadline=None)  # the machine may be busy
@given(stories, st.floats(min_value=TTL_S, max_value=110.0))
def test_after_a_freeze_past_the_end_only_an_answer_lets_it_speak(
    story: list[tuple[float, Step]], frozen_s: float
) -> None:
    """Whatever came before the freeze, and however Redis and the room behave after it."""
    lease, now = granted(), 0.0
    for pause_s, step in story:
        now = take(lease, step, at=now + pause_s)
    woke_at = max(now, lease.until) + frozen_s
    assert not lease.may_speak(woke_at)
    for _ in range(4):
        lease.room_connected()
        lease.failed(sent_at=woke_at, now=woke_at + 0.05)
        woke_at += 0.05
        assert not lease.may_speak(woke_at)
    lease.answered(Renewal.MINE, sent_at=woke_at, now=woke_at + 0.05)
    assert lease.may_speak(woke_at + 0.05) == (lease.state(woke_at + 0.05) not in (State.LOST, State.PASSED))


@settings(deadline=None)  # the machine may be busy
@given(stories)
def test_hold_needs_a_room_that_never_left_connected(story: list[tuple[float, Step]]) -> None:
    """In no story is a room held that does not stand, or that broke since the last renewal that was answered."""
    lease, now, stands, newest = granted(connected=False), 0.0, False, 0.0
    broke_at: float | None = None
    for pause_s, step in story:
        began_at = now + pause_s
        now = take(lease, step, at=began_at)
        match step:
            case Broke():
                stands, broke_at = False, began_at
            case Connected():
                stands = True
            case Answered(Renewal.MINE | Renewal.HANG_UP) if began_at >= newest:
                newest = began_at
                broke_at = None if broke_at is not None and broke_at <= newest else broke_at
        assert lease.is_confirmed == (broke_at is None)
        assert lease.state(now) is not State.HOLD or (stands and broke_at is None)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(moments, moments, st.sampled_from(list(Renewal))), min_size=1, max_size=12), st.randoms())
def test_answers_in_any_order_never_move_the_end_back(sent: list[tuple[float, float, Renewal]], random: object) -> None:
    """Late and overtaking answers alike."""
    lease, now = granted(), 0.0
    for sent_at, took_s, answer in sent:
        until = lease.until
        now = max(now, sent_at + took_s)
        lease.answered(answer, sent_at=sent_at, now=now)
        assert lease.until >= until


@settings(deadline=None)  # the machine may be busy
@given(stories, st.floats(min_value=-0.29, max_value=0.29))
def test_a_clock_that_drifts_by_less_than_the_margin_never_outlives_the_registrys_lease(
    story: list[tuple[float, Step]], drift_s: float
) -> None:
    """Redis' lease runs from when a renewal reached it, ours from before it was sent: ours ends first."""
    lease, now, reached = granted(), 0.0, 0.0
    for pause_s, step in story:
        began_at = now + pause_s
        now = take(lease, step, at=began_at)
        if isinstance(step, Answered) and step.what in kept:
            reached = max(reached, began_at)
        registry_ends = reached + TTL_S
        assert not lease.may_join(registry_ends - abs(drift_s))


@settings(deadline=None)  # the machine may be busy
@given(stories, st.lists(st.tuples(moments, steps), max_size=5))
def test_an_end_is_never_taken_back(story: list[tuple[float, Step]], more: list[tuple[float, Step]]) -> None:
    """Passed, lost or over: the first of them stays, through answers, failures, breaks and jumps of any order."""
    lease, now = granted(), 0.0
    for pause_s, step in story:
        now = take(lease, step, at=now + pause_s)
    end = lease.must_leave(now)
    for pause_s, step in more:
        now = take(lease, step, at=now + pause_s)
        if end in (Leave.PASSED, Leave.LOST, Leave.OVER):
            assert lease.must_leave(now) is end
            assert not (lease.may_speak(now) or lease.may_join(now))
