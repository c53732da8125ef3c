"""The findings of one call as numbers: milliseconds from the start of `connect`, ready for JSON.

Pure: reads a `Witness` and moments on the monotonic clock. What did not happen is None.
"""

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


def measure(
    witness: Witness,
    findings: Findings,
    *,
    room: str,
    identity: str,
    began_at: float,
    connected_at: float,
    left_at: float,
    connection: list[tuple[float, str]],
) -> Report:
    """Turn what was noticed into numbers, and add the problem that is none of the script's: two agents at once."""

    def ms(at: float | None, since: float = began_at) -> int | None:
        return None if at is None else round((at - since) * 1000)

    def known(at: float) -> int:
        return round((at - began_at) * 1000)

    problems = [*findings.problems, *_two_agents(witness)]
    heard_at = witness.heard_at
    gaps = () if heard_at is None else witness.gaps(heard_at, left_at, min_s=LONG_GAP_S)
    return Report(
        room=room,
        identity=identity,
        ok=heard_at is not None and not problems,
        problems=tuple(problems),
        connect_ms=known(connected_at),
        agent_seen_ms=ms(witness.seen_at),
        agent_seen_after_connect_ms=ms(witness.seen_at, connected_at),
        agent_subscribed_ms=ms(witness.subscribed_at),
        agent_subscribed_after_connect_ms=ms(witness.subscribed_at, connected_at),
        agent_heard_ms=ms(heard_at),
        agent_heard_after_connect_ms=ms(heard_at, connected_at),
        turns=tuple(findings.turns),
        barge_in_stop_ms=findings.barge_in_stop_ms,
        agents_max=witness.agents_max,
        audible_max=witness.audible_max,
        overlap_ms=round(witness.overlap_s() * 1000),
        presence=tuple((known(at), count) for at, count in witness.presence),
        gaps=tuple((known(gap.started_at), known(gap.ended_at)) for gap in gaps),
        connection=tuple((known(at), word) for at, word in connection),
        agents=tuple(_agent(stay, began_at) for stay in witness.stays),
        left_ms=known(left_at),
    )


def _agent(stay: AgentStay, began_at: float) -> AgentReport:
    def ms(at: float | None) -> int | None:
        return None if at is None else round((at - began_at) * 1000)

    return AgentReport(
        identity=stay.identity,
        sid=stay.sid,
        seen_ms=round((stay.seen_at - began_at) * 1000),
        subscribed_ms=ms(stay.subscribed_at),
        heard_ms=ms(stay.heard_at),
        left_ms=ms(stay.left_at),
        audible_ms=round(sum(s.ended_at - s.started_at for s in stay.hearing.stretches) * 1000),
        states=tuple((round((at - began_at) * 1000), state) for at, state in stay.states),
    )


def _two_agents(witness: Witness) -> list[str]:
    if witness.audible_max > 1:
        return [f"{witness.audible_max} agents were audible at once, for {witness.overlap_s() * 1000:.0f} ms"]
    if witness.agents_max > 1:
        return [f"{witness.agents_max} agents were in the room at once"]
    return []
