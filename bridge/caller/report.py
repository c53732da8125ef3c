"""The findings of one call as numbers: milliseconds from the start of `connect`, ready for JSON.

Pure: reads a `Witness` and moments on the monotonic clock. What did not happen is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bridge.caller.witness import AgentStay, Witness

LONG_GAP_S = 1.0
"""Silences at least this long are listed: a pause between sentences is not, a take-over is."""


@dataclass(slots=True)
class Turn:
    """One thing the caller said, and how long the agent took to answer it (both from the end of our voice)."""

    said_ms: int
    reply_delay_ms: int | None = None


@dataclass(slots=True)
class Findings:
    """What a script found out while it ran, before the whole is measured."""

    turns: list[Turn] = field(default_factory=list)
    barge_in_stop_ms: int | None = None
    # What was asked for and did not happen, as sentences.
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AgentReport:
    """One stay of one agent."""

    identity: str
    sid: str
    seen_ms: int
    subscribed_ms: int | None
    heard_ms: int | None
    left_ms: int | None
    audible_ms: int
    states: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """One call. `_after_connect_ms` counts from the return of `connect`, the other times from its start."""

    room: str
    identity: str
    ok: bool
    problems: tuple[str, ...]
    connect_ms: int
    agent_seen_ms: int | None
    agent_seen_after_connect_ms: int | None
    agent_subscribed_ms: int | None
    agent_subscribed_after_connect_ms: int | None
    agent_heard_ms: int | None
    agent_heard_after_connect_ms: int | None
    turns: tuple[Turn, ...]
    barge_in_stop_ms: int | None
    agents_max: int
    audible_max: int
    overlap_ms: int
    presence: tuple[tuple[int, int], ...]
    gaps: tuple[tuple[int, int], ...]
    connection: tuple[tuple[int, str], ...]
    agents: tuple[AgentReport, ...]
    left_ms: int


@dataclass(frozen=True, slots=True)
class Made:
    """A call that was made: where, by whom, its moments, and the interruptions of the caller's own connection."""

    room: str
    identity: str
    began_at: float
    connected_at: float
    left_at: float
    connection: Sequence[tuple[float, str]] = ()


def measure(witness: Witness, findings: Findings, made: Made) -> Report:
    """Turn what was noticed into numbers, and add the problem that is none of the script's: two agents at once."""
    began_at, connected_at, heard_at = made.began_at, made.connected_at, witness.heard_at
    problems = (*findings.problems, *_two_agents(witness))
    return Report(
        room=made.room,
        identity=made.identity,
        ok=heard_at is not None and not problems,
        problems=problems,
        connect_ms=_ms(connected_at, began_at),
        agent_seen_ms=_known_ms(witness.seen_at, began_at),
        agent_seen_after_connect_ms=_known_ms(witness.seen_at, connected_at),
        agent_subscribed_ms=_known_ms(witness.subscribed_at, began_at),
        agent_subscribed_after_connect_ms=_known_ms(witness.subscribed_at, connected_at),
        agent_heard_ms=_known_ms(heard_at, began_at),
        agent_heard_after_connect_ms=_known_ms(heard_at, connected_at),
        turns=tuple(findings.turns),
        barge_in_stop_ms=findings.barge_in_stop_ms,
        agents_max=witness.agents_max,
        audible_max=witness.audible_max,
        overlap_ms=round(witness.overlap_s() * 1000),
        presence=tuple((_ms(at, began_at), count) for at, count in witness.presence),
        gaps=_gaps(witness, made),
        connection=tuple((_ms(at, began_at), word) for at, word in made.connection),
        agents=tuple(_agent(stay, began_at) for stay in witness.stays),
        left_ms=_ms(made.left_at, began_at),
    )


def _ms(at: float, since: float) -> int:
    return round((at - since) * 1000)


def _known_ms(at: float | None, since: float) -> int | None:
    return None if at is None else _ms(at, since)


def _gaps(witness: Witness, made: Made) -> tuple[tuple[int, int], ...]:
    """The long silences between the first sound and the end; none where nothing was heard."""
    if witness.heard_at is None:
        return ()
    gaps = witness.gaps(witness.heard_at, made.left_at, min_s=LONG_GAP_S)
    return tuple((_ms(gap.started_at, made.began_at), _ms(gap.ended_at, made.began_at)) for gap in gaps)


def _agent(stay: AgentStay, began_at: float) -> AgentReport:
    return AgentReport(
        identity=stay.identity,
        sid=stay.sid,
        seen_ms=_ms(stay.seen_at, began_at),
        subscribed_ms=_known_ms(stay.subscribed_at, began_at),
        heard_ms=_known_ms(stay.heard_at, began_at),
        left_ms=_known_ms(stay.left_at, began_at),
        audible_ms=round(sum(s.ended_at - s.started_at for s in stay.hearing.stretches) * 1000),
        states=tuple((_ms(at, began_at), state) for at, state in stay.states),
    )


def _two_agents(witness: Witness) -> list[str]:
    if witness.audible_max > 1:
        return [f"{witness.audible_max} agents were audible at once, for {witness.overlap_s() * 1000:.0f} ms"]
    if witness.agents_max > 1:
        return [f"{witness.agents_max} agents were in the room at once"]
    return []
