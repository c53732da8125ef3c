"""Why there is an agent in a room, or none, in a sentence or two with what helps. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

from pool.base.text import printable
from pool.commands.lengths import count_of, lasting
from pool.commands.sentences import WORDS
from pool.commands.states import CarrierState, state_of

if TYPE_CHECKING:
    from pool.journal import Decision
    from pool.registry import CarrierRecord, CarrierSeen, RoomState

UNKNOWN = "No agent: no webhook has named this room, and no list of LiveKit's."

HINTS = """\
Names are matched letter by letter, upper and lower case apart.
Does LiveKit's configuration name the receiver under webhook.urls, and does its log show deliveries?
Does ROOMPOOL_ROOMS, in the receiver and the workers, let this room have an agent?
Do the receiver, the workers and this command use the same REDIS_URL?"""

IGNORED_CURES = {
    "room_not_wanted": "set it in the receiver and the workers alike",
    "kind": "only people get one: STANDARD, SIP or CONNECTOR",
    "may_not_publish": "grant canPublish in the caller's token",
    "hidden": "make them visible in their token",
    "own_agent": "callers need another identity than ROOMPOOL_AGENT_IDENTITY",
}

IN = frozenset({"joined", "rejoined", "reconnected"})
OUT = frozenset({"reconnecting", "evicted", "frames_refused"})
"""What a carrier says when it comes into the room, and when it is out of it."""

UNHEARD_MS = 5_000
"""Callers publish their microphone once they are in; one that is late by so much may never come."""

GRANTS = frozenset({"claimed", "passed", "reasserted"})
"""Events with which a carrier begins to hold a room."""


def verdict(state: "RoomState | None", carriers: "Sequence[CarrierSeen]", story: "Sequence[Decision]") -> str:
    """Why there is an agent in the room, or none, and what to do about it.

    Args:
        state: None when room state knows nothing of the room (any more).
        story: Oldest line first; empty when nobody named the room within a day.
    """
    from pool.registry import Standing

    if state is None:
        return _of_no_state(story)
    now = state.now_unix_ms
    callers = count_of(len(state.callers), "caller")
    match state.standing:
        case Standing.OWNED:
            return _of_owned(state, story)
        case Standing.LAPSED:
            return _of_lapsed(state, carriers)
        case Standing.WAITING:
            waited_ms = now - (state.queued_unix_ms or now)
            who = _who_could_take_it(state, carriers, story)
            return f"No agent yet: waiting for {lasting(waited_ms)}; {callers}. {who}"
        case Standing.BACKING_OFF:
            tries = len(state.attempts) + len(state.excused)
            return (
                f"No agent for the moment: next try in {_until_due(state)}, after "
                f"{count_of(tries, 'failed attempt')}; {callers}.{_last_failure(story)}"
            )
        case Standing.HELD_BACK:
            return (
                f"No agent for {_until_due(state)}: Redis lost its data, and an owner nobody knows of may come back "
                f"first; {callers}."
            )
        case Standing.RESTED:
            return (
                f"No agent: the call was ended, {_how_it_ended(story)}. A caller who joins from now on gets one; "
                f"{callers}."
            )
        case Standing.QUARANTINED:
            since = lasting(now - (state.quarantined_unix_ms or now))
            return (
                f"No agent: quarantined for {since}, after {count_of(len(state.attempts), 'failed attempt')}; "
                f"{callers}.{_last_failure(story)} Then: roompool retry ROOM"
            )
        case Standing.ABSENT:
            return f"No agent: nobody is noted as present; the next caller brings one.{_last_ignored(story)}"
        case Standing.FINISHED:
            return f"No agent: LiveKit closed the room, and this life of it ({printable(state.sid)}) is over."
        case _:
            assert_never(state.standing)


def _of_no_state(story: "Sequence[Decision]") -> str:
    if not story:
        return UNKNOWN
    if ignored := _last_ignored(story):
        return f"No agent: nobody who counts as a caller is known here.{ignored}"
    return "No agent: nobody is noted in this room, and it has no owner."


def _of_lapsed(state: "RoomState", carriers: "Sequence[CarrierSeen]") -> str:
    callers = count_of(len(state.callers), "caller")
    over_ms = state.now_unix_ms - (state.until_unix_ms or state.now_unix_ms)
    held = f"{_name(state.owner)} held the room (fence {state.fence}) until {lasting(over_ms)} ago"
    if all(state_of(seen) is CarrierState.SILENT for seen in carriers):
        return (
            f"Perhaps an agent: {held}, and no carrier has reached Redis since; {callers}. If none runs: "
            "`roompool worker`."
        )
    return (
        f"Perhaps an agent: {held}, and Redis was away, or no carrier reached it; it may come back first, else "
        f"another takes over; {callers}."
    )


def _of_owned(state: "RoomState", story: "Sequence[Decision]") -> str:
    now, owner = state.now_unix_ms, _name(state.owner)
    lines = [line for line in story if "was" not in line.facts]  # a change of a carrier's mind is no event of a call
    begun = [index for index, line in enumerate(lines) if line.event in GRANTS]
    since = lines[begun[-1] :] if begun else lines
    how = since[0].event if begun else ""
    events = {line.event for line in since if line.facts.get("carrier") == state.owner}
    held = lasting(now - (state.claimed_unix_ms or now))
    left = lasting(max(0, (state.until_unix_ms or now) - now))
    is_in = bool(IN & events) or how in ("reasserted", "")
    facts = f"fence {state.fence}, the lease ends in {left}; {count_of(len(state.callers), 'caller')}"
    if not is_in:
        return f"The agent is on its way: {owner} took the room {held} ago, and has not joined yet; {facts}."
    lack = _lack(state, events) if how == "claimed" else ""
    if _where(since, state.owner) in OUT:
        return f"The agent is out of the room and comes back: {owner} has held it for {held}; {facts}.{_plans(state)}"
    return f"There is an agent: {owner} has held the room for {held}{lack}; {facts}.{_plans(state)}"


def _lack(state: "RoomState", events: set[str]) -> str:
    """What is missing for a talk, in a call that its carrier has begun."""
    if not {"voice_ready", "first_sound"} & events:
        return ", but its voice is not ready yet"
    held_ms = state.now_unix_ms - (state.claimed_unix_ms or state.now_unix_ms)
    if state.callers and "caller_heard" not in events and held_ms >= UNHEARD_MS:
        return ", but no caller's microphone has come in: muted, not published, or not let through"
    return ""


def _where(story: "Sequence[Decision]", owner: str | None) -> str:
    """The last that its carrier said of coming and going."""
    moves = (line.event for line in reversed(story) if line.facts.get("carrier") == owner)
    return next((event for event in moves if event in IN or event in OUT), "")


def _bar_ms(state: "RoomState", carrier: "CarrierRecord", serving: "Sequence[CarrierRecord]") -> int:
    """For how long a carrier may not have the room. Its worker's bar holds only while another worker could take it."""

    def left_ms(name: str) -> int:
        return max(0, state.bars.get(name, 0) - state.now_unix_ms)

    others = [one for one in serving if one.worker != carrier.worker and not (left_ms(one.id) or left_ms(one.worker))]
    return max(left_ms(carrier.id), left_ms(carrier.worker) if others else 0)


def _plans(state: "RoomState") -> str:
    if state.hangup_unix_ms is not None:
        return " A person has asked to hang up."
    if state.next is None:
        return ""
    return f" It is about to go to {_name(state.next)}, which {'is ready' if state.is_next_ready else 'gets ready'}."


def _name(carrier: str | None) -> str:
    return printable(carrier) if carrier else "a carrier"


def _until_due(state: "RoomState") -> str:
    return lasting(max(0, (state.due_unix_ms or 0) - state.now_unix_ms))


def _last(story: "Sequence[Decision]", event: str) -> "Decision | None":
    return next((line for line in reversed(story) if line.event == event), None)


def _last_failure(story: "Sequence[Decision]") -> str:
    """How the last call ended that has a cure, which only failures have; else that a carrier was lost."""
    for line in reversed(story):
        if line.event == "ended" and "cure" in line.facts:
            why = WORDS["ended.ending"].get(line.facts.get("ending", ""), "")
            return f" The last one: {printable(why)}. Cure: {printable(line.facts['cure'])}."
        if line.event in ("lease_ended", "reaped"):
            carrier = printable(line.facts.get("carrier", "a carrier"))
            return f" The last one: {carrier} died or froze. Cure: look at its log for what it did in this room."
    return " See below why."


def _how_it_ended(story: "Sequence[Decision]") -> str:
    by_person, ended = _last(story, "hung_up"), _last(story, "ended")
    if by_person and (not ended or by_person.at_unix_ms > ended.at_unix_ms):
        return "as a person asked"
    if not ended:
        return "by the agent"
    why = WORDS["ended.ending"].get(ended.facts.get("ending", ""), "by the agent")
    cure = f" (cure: {printable(ended.facts['cure'])})" if "cure" in ended.facts else ""
    return f"because {why}{cure}" if " " in why and not why.startswith("by ") else why


def _last_ignored(story: "Sequence[Decision]") -> str:
    """Who joined last and got no agent for it, other than an agent of ours."""
    for line in reversed(story):
        reason = line.facts.get("reason", "")
        if line.event == "webhook_ignored" and reason != "own_agent":
            why = WORDS["webhook_ignored.reason"].get(reason, reason)
            kind = f" ({line.facts['kind']})" if line.facts.get("kind") else ""
            cure = f": {IGNORED_CURES[reason]}" if reason in IGNORED_CURES else ""
            return f" Somebody joined and was ignored: {printable(why + kind + cure)}."
    return ""


def _who_could_take_it(state: "RoomState", carriers: "Sequence[CarrierSeen]", story: "Sequence[Decision]") -> str:
    """Why a waiting room still waits, as far as carriers tell."""
    alive = [what for what in map(state_of, carriers) if what is not CarrierState.SILENT]
    if not alive:
        return "No carrier is alive: start one with `roompool worker`."
    serving = [seen.carrier for seen in carriers if state_of(seen) is CarrierState.SERVING]
    barred_ms = [_bar_ms(state, carrier, serving) for carrier in serving]
    if free := barred_ms.count(0):
        return f"{count_of(free, 'carrier')} with a free slot; one should take it within a second."
    if barred_ms:
        return (
            f"{count_of(len(serving), 'carrier')} with a free slot, but it or its worker gave this room up: not for "
            f"another {lasting(min(barred_ms))}.{_last_failure(story)}"
        )
    busy = ", ".join(sorted(what.value for what in alive))
    if CarrierState.FULL not in alive:
        return f"No carrier takes calls ({busy}). A worker starts new ones by itself; else: `roompool worker`."
    return f"No carrier has a free slot ({busy}): start more with `roompool worker`, or raise ROOMPOOL_CAPACITY."
