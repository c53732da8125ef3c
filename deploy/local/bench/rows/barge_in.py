"""How soon an agent falls silent once its voice knows that the caller cut in: from inside, and at the caller's ear.

Inside, a histogram of the carrier's own tells how long it took to empty the queue. At the ear the way of a frame comes
on top, through encoder, network and jitter buffer, for which there is an estimate from the same run
(`interruptions.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from bridge.caller.caller import Caller
from bridge.caller.wav import hello, interruption
from bridge.simulator.lines import line
from bridge.simulator.texts import LINES
from deploy.local.bench.figures import Figure, Measured, Verdict, find
from deploy.local.bench.histogram import Histogram
from deploy.local.bench.interruptions import SILENT_S, CallHeard, call_heard
from deploy.local.bench.one_carrier import OneCarrier, case, monotonic_of_unix_ms
from deploy.local.bench.row import Bench, Row
from deploy.local.bench.words import brief

SUBJECT = "roompool, 1 carrier"
SERIES = "roompool_barge_in_flush_seconds"

ESTIMATE, ESTIMATE_OWN = "last frame out (estimate)", "last frame out (estimate by its own reply's way)"
RAW, WAY = "last frame heard", "way of a frame (least)"
FLUSHED_P95 = "queue emptied, p95"
FLUSH = {"queue emptied, p50": 0.5, FLUSHED_P95: 0.95}

BARGE_INS = {1: 10, 10: 5}
"""Of each caller, by how many there are at a time; one takes some four seconds."""

LINE = "long"
"""Every turn is answered by it: a quarter of a minute, and voice nearly throughout its first three seconds."""

EARLIEST_S, LATEST_S = 0.3, 1.9
"""Into a reply, a caller begins to speak; the simulator notices half a second later."""

OVER_MS = 600
HEARD_S = 30.0
REPLY_S = 15.0
STOPS_S = 10.0

REACH_MS = 40.0


async def run(bench: Bench) -> Sequence[Measured]:
    """As many rounds as the bench says, in each one call, then ten.

    Raises:
        StackFailed, NeverSaid: A program did not come up, or did not say that a call had ended.
    """
    tallies = {many: _Tally() for many in BARGE_INS}
    for number in range(1, bench.repeat + 1):
        folder = bench.run_dir / f"barge-in-{number}"
        async with OneCarrier.open(bench, folder, greeting=LINES["heard"], faults={"long_reply": True}) as site:
            for many, tally in tallies.items():
                await _measure(site, many, tally, bench, draws=f"barge-in {number}")
    return [tally.measured(case(many)) for many, tally in tallies.items()]


def judge(measured: Sequence[Measured]) -> Sequence[Verdict]:
    """In each case from inside, and what is left at the ear when the way is taken off."""
    return [
        Verdict(f"{told}, p95, ms, {case(many)}", _p95(find(measured, SUBJECT, case(many)), figure), REACH_MS)
        for figure, told in {
            FLUSHED_P95: "event to queue emptied",
            ESTIMATE: "event to last frame heard, less its way",
        }.items()
        for many in BARGE_INS
    ]


def _p95(one: Measured | None, figure: str) -> float:
    """Of all values; of those that a round has one of, such as its own p95, the worst round's."""
    spread = one.figures[figure].spread if one else None
    return spread.p95 if spread else float("nan")


ROW = Row(
    name="barge_in",
    what="from the voice's word of an interruption to the agent's last audible frame, at 1 and 10 calls a carrier",
    run=run,
    judge=judge,
)


@dataclass(slots=True)
class _Tally:
    """What the rounds of one case came to. `least_ways_s` and `flushes_s` have one entry a round."""

    estimates_s: list[float] = field(default_factory=list)
    by_own_s: list[float] = field(default_factory=list)
    raw_s: list[float] = field(default_factory=list)
    least_ways_s: list[float] = field(default_factory=list)
    flushes_s: dict[str, list[float]] = field(default_factory=dict)
    flushes: int = 0
    unclear: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, heard: Sequence[CallHeard], flushes: Histogram) -> None:
        """One round. The least way of its replies stands for all of them: a longer one was kept up by something."""
        raw_s = [cut.last_heard_s for call in heard for cut in call.cuts]
        least_way_s = min((way_s for call in heard for way_s in call.ways_s), default=float("nan"))
        self.raw_s += raw_s
        self.estimates_s += [value_s - least_way_s for value_s in raw_s]
        self.by_own_s += [cut.last_heard_s - cut.way_s for call in heard for cut in call.cuts if cut.way_s is not None]
        self.least_ways_s.append(least_way_s)
        self.unclear += sum(call.unclear for call in heard)
        self.flushes += flushes.count
        for name, share in FLUSH.items():
            self.flushes_s.setdefault(name, []).append(flushes.percentile(share))

    def measured(self, name: str) -> Measured:
        figures = {
            ESTIMATE: self.estimates_s,
            ESTIMATE_OWN: self.by_own_s,
            RAW: self.raw_s,
            WAY: self.least_ways_s,
            **self.flushes_s,
        }
        return Measured(
            subject=SUBJECT,
            case=name,
            figures={
                figure: Figure("ms", tuple(value_s * 1000 for value_s in all_s)) for figure, all_s in figures.items()
            },
            lost=len(self.problems),
            processes=2,
            notes=[
                f"{len(self.raw_s)} interruptions heard; {self.unclear} more struck a pause of the agent's speech",
                f"queue emptied: {self.flushes} times, interpolated in the buckets of a histogram, one a round",
                "an estimate is what was heard less the way of a frame: the round's least, or that of the same reply",
                "a jitter buffer that grew counts in the first and not in the second; a caller hears in steps of 20 ms",
                *self.problems,
            ],
        )


async def _measure(site: OneCarrier, many: int, tally: _Tally, bench: Bench, *, draws: str) -> None:
    before = Histogram.read(await site.scraped(), SERIES)
    question, cut = brief(hello()), brief(interruption())

    async def talk(caller: Caller, number: int) -> None:
        random = Random(f"{draws} {many} {number}")
        await caller.agent_heard(HEARD_S)
        await caller.until_agent_silent(OVER_MS, REPLY_S)
        spoken = await caller.say(question)
        for _ in range(BARGE_INS[many]):
            heard_at = await caller.until_agent_audible(REPLY_S, since=spoken.ended_at)
            await caller.stay(max(0.0, heard_at + random.uniform(EARLIEST_S, LATEST_S) - caller.known_until()))
            spoken = await caller.say(cut)  # a turn as well: it is answered, and that answer interrupted next
        await caller.fell_silent(spoken.started_at, SILENT_S * 1000, STOPS_S)

    made = await site.calls(many, talk)
    flushes = Histogram.read(await site.scraped(), SERIES).since(before)
    monotonic = monotonic_of_unix_ms()
    heard = [
        call_heard(
            await site.said_in(caller.room_name),
            caller.witness.audible(),
            line=line(LINE),
            monotonic=monotonic,
            known_until=caller.left_at,
        )
        for caller in made.callers
    ]
    tally.problems += made.problems
    tally.add(heard, flushes)
    last_heard_ms = Figure("ms", tuple(cut.last_heard_s * 1000 for call in heard for cut in call.cuts)).spread
    bench.tell(
        f"barge_in, {case(many)}: last frame heard after {last_heard_ms} ms, queue emptied {flushes.count} times"
    )
