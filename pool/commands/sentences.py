"""What each line of a room's story says, in words: a table from event to sentence. Pure.

A sentence has `{facts}` in it, and parts in `[brackets]` that are left out where a fact of theirs is missing. Facts
that no part names follow at the end, so that nothing a newer version writes is lost.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pool.base.text import printable
from pool.commands.lengths import lasting

if TYPE_CHECKING:
    from pool.journal import Decision

SENTENCES: Mapping[str, str] = {
    # the receiver
    "webhook": "LiveKit's webhook said that somebody joined; accepted",
    "webhook_ignored": "LiveKit's webhook said that somebody joined; ignored: {reason}[ ({kind})]",
    "webhook_again": "LiveKit repeated that webhook, which changes nothing",
    # who is there
    "expected": "LiveKit opened the room: a caller is about to come in",
    "arrived": "a caller is in the room[, {callers} now]",
    "arrived_late": "news of a caller that is too old to matter: {reason}",
    "found_in_list": "LiveKit's list showed {callers} in the room of whom no webhook had told",
    "left": "a caller has left[, {callers} now]",
    "new_life": "the room was made anew under the same name[ ({sid})]",
    "finished": "LiveKit closed the room[ ({sid})]",
    # who gets it
    "waiting": "waits for a carrier[, for {for_ms} so far]",
    "claimed": "{carrier} was given the room: fence {fence}, try {attempt}[, after {waited_ms}]",
    "reasserted": "{carrier} still had the room when Redis had forgotten it: fence {fence}",
    "released": "{carrier} gave the room up, {how}[ (fence {fence})]",
    "lease_ended": "{carrier} was not heard of until its lease ended[ (fence {fence})]: it died, froze, was cut off, "
    "or was on its way out",
    "reaped": "{carrier} has died, says its worker; the room is free at once[ (fence {fence})]",
    "quarantined": "quarantined after {attempts} failed tries: no carrier gets it before `roompool retry`",
    "retried": "a person lifted the quarantine",
    "set_aside": "its state could not be read ({reason}) and was laid aside; it begins anew",
    # handing over
    "offered": "{carrier} asks {next} to stand by[ (fence {fence})]",
    "offer_dropped": "{next} cannot take it after all: it died, drains or is cordoned",
    "standing_by": "{carrier} stands by and could go on at once[ (fence {fence})]",
    "declined": "{carrier} cannot stand by[; not asked again for {bar_ms}][ (fence {fence})]",
    "withdrawn": "{carrier} no longer needs {next} to stand by[ (fence {fence})]",
    "passed": "[{carrier} handed the room to {next}: fence {next_fence} after {fence}]"
    "[{carrier} has passed the room on, and is mute (was: {was})]",
    "hand_over_failed": "{carrier} could not hand the room over, and goes on with the call: {reason}",
    # a person
    "hangup_asked": "a person asked to hang up; {carrier} will[ (fence {fence})]",
    "hung_up": "a person asked to hang up; nobody held the room, so it rests",
    # our identity without a lease
    "stray": "an agent of ours is in the room without a lease[, seen for {seen_for_ms}][ (fence {fence})]: it must go",
    "stray_removed": "{carrier} had it put out[ (fence {fence})]",
    # the call
    "joined": "{carrier} is in the room[, after {after_ms}]",
    "rejoined": "{carrier} is in the room again",
    "voice_ready": "the voice of {carrier} is ready[, after {after_ms}]",
    "voice_failed": "the voice failed: {code}",
    "first_sound": "the caller hears the agent",
    "caller_heard": "the agent hears the caller's microphone",
    "barge_in": "the caller interrupted the agent[, who had been heard for {heard_ms}]",
    "agent_hangs_up": "the agent hangs up",
    "lingering": "the last caller vanished without hanging up; waiting {for_s} s for a return",
    "reconnecting": "{carrier} lost LiveKit, is mute, and asks whether the room is still its own",
    "reconnected": "{carrier} is back in the room",
    "frames_refused": "{carrier} cannot speak into the room any more, is mute, and asks whether it is still its own",
    "evicted": "LiveKit put {carrier} out, because somebody joined under the same identity",
    "own": "{carrier} is sure again that the room is its own[ (was: {was})]",
    "unsure": "{carrier} is not sure that the room is its own, and mute[ (was: {was})]",
    "hold": "{carrier} cannot reach Redis, and goes on with the call[ (was: {was})]",
    "must_leave": "{carrier} must leave: {reason}",
    "ended": "{carrier}'s call ended: {ending}[ ({code})][, after {call_ms}]",
}

WORDS: Mapping[str, Mapping[str, str]] = {
    "webhook_ignored.reason": {
        "room_not_wanted": "ROOMPOOL_ROOMS of the receiver does not name this room",
        "own_agent": "it is our own agent",
        "kind": "its kind is none of a caller's",
        "hidden": "hidden participants get no agent",
        "recorder": "recorders get no agent",
        "agent": "an agent, by its permissions",
        "may_not_publish": "its token does not let it publish, so it could not speak",
        "not_a_caller": "not a caller",
    },
    "arrived_late.reason": {
        "finished": "that life of the room is over",
        "stale": "a later life of the room is known",
    },
    "released.how": {
        "again": "for somebody else to go on",
        "failed": "because the call failed",
        "excused": "because of an outage that the room is not to blame for",
        "rested": "because the call was ended",
        "gone": "because its callers have left, or the room is over",
    },
    "must_leave.reason": {
        "lost": "its lease ended, or somebody else has the room",
        "over": "this life of the room is over",
        "hold_ended": "Redis was away for too long",
        "passed": "the room was handed on",
        "hang_up": "a person asked to hang up",
    },
    "hand_over_failed.reason": {
        "nobody": "no other carrier can take it now",
        "too_slow": "who was asked did not get ready in time",
        "not_passed": "who was asked is gone, or full",
        "not_now": "its caller is away, or it is out of the room",
        "unreachable": "Redis gave no answer",
    },
    "ended.ending": {
        "caller_left": "the caller left",
        "nobody_there": "nobody was there",
        "agent_hung_up": "the agent hung up",
        "limit_reached": "it was as long as a call may be",
        "removed": "somebody removed the agent from the room",
        "room_over": "the room is over",
        "wrong_life": "it was another life of the room",
        "stopped": "the worker had to stop",
        "hung_up": "a person asked to hang up",
        "passed": "handed to the next carrier",
        "not_needed": "it stood by and was not needed",
        "lease_lost": "the room was no longer its own",
        "identity_taken": "somebody else uses the agent's identity",
        "room_lost": "the connection to LiveKit was lost",
        "room_refused": "LiveKit refused the join",
        "room_unreachable": "LiveKit could not be reached",
        "voice_lost": "the voice was lost",
        "voice_refused": "the voice refused our key",
        "voice_misfit": "the voice refused our configuration",
        "bug": "a bug of roompool",
    },
}
"""What a fact's value means, where it is one of few: event and fact, then value."""

MAX_HEARD = 1000
"""Ids of deliveries, of which a repetition is known: LiveKit repeats one within 15 s."""

PART = re.compile(r"\[([^\]]*)\]|([^\[]+)")
FACT = re.compile(r"\{(\w+)\}")
QUIET = frozenset({"delivery", "participant", "voice_session", "carrier", "standing_by"})
"""Facts that programs read, and that say nothing more to a person."""


class Teller:
    """Tells the lines of one room's story, in their order: a webhook whose id has come before is a repetition."""

    def __init__(self) -> None:
        self._heard: deque[str] = deque(maxlen=MAX_HEARD)

    def tell(self, decision: "Decision") -> str:
        """What a line says."""
        delivery = decision.facts.get("delivery", "")
        if delivery and delivery in self._heard:
            return sentence("webhook_again", decision.facts)
        self._heard.append(delivery)
        return sentence(decision.event, decision.facts)


def sentence(event: str, facts: Mapping[str, str]) -> str:
    """What a line says. An event that is not in the table, from a newer version, is told by its name and its facts."""
    told: list[str] = []
    used: set[str] = set()
    for optional, plain in PART.findall(SENTENCES.get(event, event)):
        part = optional or plain
        names = FACT.findall(part)
        if optional and any(_is_missing(name, facts) for name in names):
            continue
        told.append(FACT.sub(lambda found: _value(event, found[1], facts), part))
        used.update(names)
    rest = _rest(facts, used)
    return printable(("".join(told) or event) + (f"  ({rest})" if rest else ""))


def _is_missing(name: str, facts: Mapping[str, str]) -> bool:
    """No time at all is nothing to speak of, either."""
    value = facts.get(name, "")
    return not value or (name.endswith("_ms") and value == "0")


def _value(event: str, name: str, facts: Mapping[str, str]) -> str:
    value = facts.get(name, "")
    if not value:
        return {"carrier": "a carrier", "next": "another carrier"}.get(name, "?")
    if name == "callers":
        return f"{value} caller" if value == "1" else f"{value} callers"
    if name.endswith("_ms") and value.isdecimal():
        return lasting(int(value))
    return WORDS.get(f"{event}.{name}", {}).get(value, value)


def _rest(facts: Mapping[str, str], used: Iterable[str]) -> str:
    """What no part of the sentence said; a cure comes last and in full."""
    unsaid = [name for name in facts if name not in used and name not in QUIET and not _is_missing(name, facts)]
    rest = [(name, facts[name]) for name in unsaid]
    shown = [f"{name}={value}" for name, value in rest if name != "cure"]
    return ", ".join(shown + [f"cure: {value}" for name, value in rest if name == "cure"])
