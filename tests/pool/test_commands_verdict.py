"""The first line of `roompool why`: whether there is an agent, why not, and what helps."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from pool.commands.verdict import UNKNOWN, verdict
from pool.journal import Decision
from pool.registry import CarrierRecord, CarrierSeen, RoomState, Standing

NOW = 1_800_000_000_000
OWNER = {"carrier": "c1"}

ROOM = RoomState(
    room="demo",
    sid="RM_1",
    created_unix_ms=NOW - 60_000,
    standing=Standing.WAITING,
    now_unix_ms=NOW,
    callers={"PA_1": NOW - 50_000},
    gone=(),
    owner=None,
    fence=17,
    until_unix_ms=None,
    claimed_unix_ms=None,
    attempts=(),
    excused=(),
    rested_sids=(),
    rested_upto_unix_ms=None,
    quarantined_unix_ms=None,
    wanted_unix_ms=NOW - 5000,
    queued_unix_ms=NOW - 5000,
    due_unix_ms=None,
    bars={},
)
OWNED = replace(ROOM, standing=Standing.OWNED, owner="c1", until_unix_ms=NOW + 2500, claimed_unix_ms=NOW - 41_000)
BACKING_OFF = replace(ROOM, standing=Standing.BACKING_OFF, due_unix_ms=NOW + 3000, attempts=(NOW - 9000, NOW - 4000))


def carrier(*, capacity: int = 8, leases: int = 0, draining: bool = False, beat_age_ms: int = 100) -> CarrierSeen:
    record = CarrierRecord(
        id="c1",
        worker="w1",
        host="h",
        pid=1,
        revision="",
        capacity=capacity,
        in_use=leases,
        draining=draining,
        started_unix_ms=1,
    )
    return CarrierSeen(record, leases=leases, cordoned=False, beat_age_ms=beat_age_ms)


def story(*lines: str | tuple[str, Mapping[str, str]]) -> list[Decision]:
    """Events, of the owner unless they have facts of their own, a second apart."""
    told = [line if isinstance(line, tuple) else (line, OWNER) for line in lines]
    return [Decision(NOW - 60_000 + 1000 * index, event, facts) for index, (event, facts) in enumerate(told)]


@pytest.mark.parametrize(
    ("state", "lines", "words"),
    [
        (OWNED, ["claimed"], ["on its way", "c1 took the room 41 s ago", "has not joined yet"]),
        (OWNED, ["claimed", "joined"], ["There is an agent", "its voice is not ready yet"]),
        (
            OWNED,
            ["claimed", "voice_ready", "joined", "caller_heard"],
            ["There is an agent: c1 has held the room for 41 s; fence 17"],
        ),
        (OWNED, ["claimed", "voice_ready", "joined"], ["for 41 s, but no caller's microphone has come in: muted, "]),
        (
            replace(OWNED, claimed_unix_ms=NOW - 4_000),
            ["claimed", "voice_ready", "joined"],
            ["There is an agent: c1 has held the room for 4.0 s; fence 17"],
        ),
        (OWNED, ["claimed", "joined", "voice_ready", "reconnecting"], ["out of the room and comes back"]),
        (OWNED, ["claimed", "joined", "voice_ready", "reconnecting", "reconnected"], ["There is an agent"]),
        (OWNED, ["claimed", "joined", "evicted", "rejoined", "voice_ready"], ["There is an agent"]),
        (OWNED, ["reasserted"], ["There is an agent: c1 has held the room for 41 s; "]),
        (OWNED, [], ["There is an agent"]),
        (
            OWNED,
            [
                "claimed",
                ("passed", {"carrier": "c0", "next": "c1"}),
                "joined",
                ("passed", {"carrier": "c0", "was": "own"}),
            ],
            ["There is an agent: c1 has held the room for 41 s; "],
        ),
        (replace(OWNED, next="c2", is_next_ready=True), ["joined"], ["about to go to c2, which is ready"]),
        (replace(OWNED, hangup_unix_ms=NOW), ["joined"], ["A person has asked to hang up."]),
        (
            replace(OWNED, standing=Standing.LAPSED, until_unix_ms=NOW - 1000),
            ["joined"],
            ["Perhaps an agent", "c1 held the room", "Redis was away"],
        ),
        (ROOM, [], ["No agent yet", "waiting for 5.0 s", "1 caller."]),
        (
            BACKING_OFF,
            [("ended", {"carrier": "c1", "ending": "voice_refused", "cure": "check ASSEMBLYAI_API_KEY"})],
            [
                "next try in 3.0 s",
                "after 2 failed attempts",
                "the voice refused our key",
                "Cure: check ASSEMBLYAI_API_KEY",
            ],
        ),
        (BACKING_OFF, ["claimed", "lease_ended"], ["c1 died or froze", "Cure: look at its log"]),
        (BACKING_OFF, [], ["See below why."]),
        (
            replace(ROOM, standing=Standing.HELD_BACK, due_unix_ms=NOW + 2000),
            [],
            ["No agent for 2.0 s", "Redis lost its data"],
        ),
        (
            replace(ROOM, standing=Standing.QUARANTINED, quarantined_unix_ms=NOW - 60_000, attempts=(1, 2, 3)),
            [("ended", {"ending": "bug", "cure": "report it"})],
            ["quarantined for 60 s, after 3 failed attempts", "Cure: report it", "roompool retry ROOM"],
        ),
        (
            replace(ROOM, standing=Standing.RESTED),
            [("ended", {"carrier": "c1", "ending": "agent_hung_up"})],
            ["the call was ended, because the agent hung up", "A caller who joins from now on gets one"],
        ),
        (
            replace(ROOM, standing=Standing.RESTED),
            [("ended", {"ending": "identity_taken", "cure": "another identity"})],
            ["somebody else uses the agent's identity (cure: another identity)"],
        ),
        (
            replace(ROOM, standing=Standing.RESTED),
            [("ended", {"ending": "stopped"}), ("hung_up", {})],
            ["as a person asked"],
        ),
        (replace(ROOM, standing=Standing.RESTED), [], ["the call was ended, by the agent"]),
        (
            replace(ROOM, standing=Standing.ABSENT, callers={}),
            [("webhook_ignored", {"reason": "may_not_publish"}), ("webhook_ignored", {"reason": "own_agent"})],
            ["nobody is noted as present", "its token does not let it publish", "grant canPublish"],
        ),
        (replace(ROOM, standing=Standing.ABSENT, callers={}), [], ["the next caller brings one."]),
        (replace(ROOM, standing=Standing.FINISHED), [], ["LiveKit closed the room"]),
        (None, [], [UNKNOWN]),
        (None, ["claimed"], ["nobody is noted in this room"]),
        (
            None,
            [("webhook_ignored", {"reason": "room_not_wanted"})],
            ["No agent", "ROOMPOOL_ROOMS of the receiver does not name this room", "workers alike"],
        ),
        (None, [("webhook_ignored", {"reason": "kind", "kind": "EGRESS"})], ["(EGRESS)", "STANDARD, SIP or CONNECTOR"]),
        (None, [("webhook_ignored", {"reason": "of tomorrow"})], ["was ignored: of tomorrow."]),
    ],
)
def test_why_there_is_an_agent_or_none(
    state: RoomState | None, lines: list[str | tuple[str, Mapping[str, str]]], words: list[str]
) -> None:
    """In the first words, with the reason and what helps after them."""
    said = verdict(state, [carrier()], story(*lines))
    assert [word for word in words if word not in said] == [], said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("carriers", "words"),
    [
        ([], "No carrier is alive: start one with `roompool worker`."),
        ([carrier(beat_age_ms=60_000)], "No carrier is alive"),
        ([carrier()], "1 carrier with a free slot"),
        ([carrier(), carrier(draining=True), carrier()], "2 carriers with a free slot"),
        (
            [carrier(leases=8), carrier(draining=True, leases=1)],
            "No carrier has a free slot (draining, full): start more",
        ),
        ([carrier(draining=True)], "No carrier takes calls (drained). A worker starts new ones by itself;"),
    ],
)
def test_why_a_waiting_room_waits(carriers: list[CarrierSeen], words: str) -> None:
    """Because nobody is there, or everybody is busy; or it is about to be taken."""
    assert words in verdict(ROOM, carriers, [])


def test_who_gave_the_room_up_is_no_help_for_a_while() -> None:
    """The free slot is not for this room; what it failed of is what helps."""
    ended = ("ended", {"carrier": "c1", "ending": "voice_refused", "cure": "check ASSEMBLYAI_API_KEY"})
    barred = replace(ROOM, bars={"c1": NOW + 20_000, "w1": NOW + 20_000})
    said = verdict(barred, [carrier()], story(ended))
    assert "not for another 20 s" in said
    assert "Cure: check ASSEMBLYAI_API_KEY" in said
    over = replace(ROOM, bars={"c1": NOW})
    assert "one should take it" in verdict(over, [carrier()], story(ended))


def test_a_sibling_may_have_the_room_when_no_other_worker_could() -> None:
    """As the registry grants it: the bar of a worker is for as long as there is another."""
    mine = carrier()
    sibling = replace(mine, carrier=replace(mine.carrier, id="c2"))
    barred = replace(ROOM, bars={"c1": NOW + 20_000, "w1": NOW + 20_000})
    assert "1 carrier with a free slot; one should take it" in verdict(barred, [mine, sibling], [])


def test_with_every_carrier_silent_there_may_be_none() -> None:
    """Redis was away, or nobody is left to use it; a carrier that holds out says so with its next beat."""
    lapsed = replace(OWNED, standing=Standing.LAPSED, until_unix_ms=NOW - 9000)
    assert "If none runs: `roompool worker`" in verdict(lapsed, [carrier(beat_age_ms=60_000)], [])


@pytest.mark.parametrize("standing", Standing)
def test_every_standing_has_a_sentence(standing: Standing) -> None:
    """That begins with the answer."""
    said = verdict(replace(OWNED, standing=standing), [], [])
    assert said.startswith(("No agent", "There is an agent", "Perhaps an agent"))
