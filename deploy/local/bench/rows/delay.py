"""What roompool adds to the reply delay, both ways, measured inside the carrier by two histograms of its own.

From a reply's first audio out of the voice socket to LiveKit's SDK having its first frame, and from a caller's frame
out of the SDK to its bytes in the voice socket. What the loop takes to look at a socket is not in it. Percentiles are
read out of buckets, as if what is in one lay evenly in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bridge.caller.caller import Caller
from bridge.caller.sound import Speech
from bridge.caller.wav import hello
from bridge.simulator.texts import LINES
from deploy.local.bench.figures import Figure, Measured, Verdict, find
from deploy.local.bench.histogram import Histogram
from deploy.local.bench.one_carrier import OneCarrier, case
from deploy.local.bench.row import Bench, Row
from deploy.local.bench.words import brief

SUBJECT = "roompool, 1 carrier"
WAYS = {"reply": "roompool_reply_added_seconds", "caller": "roompool_caller_added_seconds"}
TOLD = {"reply": "voice's audio to LiveKit", "caller": "caller's frame to the voice"}
SHARES = {"p50": 0.5, "p99": 0.99}

MANY = (1, 10)
TURNS = 8
"""In each call; a turn takes some three seconds."""

LINE = "heard"
"""Every turn is answered by it: a second of speech without a pause."""

OVER_MS = 300
"""A reply that nothing follows for so long is over."""

HEARD_S = 30.0
REPLY_S = 15.0

REACH_MS = {"p50": 2.0, "p99": 10.0}


async def run(bench: Bench) -> Sequence[Measured]:
    """As many rounds as the bench says, in each one call, then ten.

    Raises:
        StackFailed, NeverSaid: A program did not come up, or did not say that a call had ended.
    """
    tallies = {many: _Tally() for many in MANY}
    for number in range(1, bench.repeat + 1):
        folder = bench.run_dir / f"delay-{number}"
        faults = {"script": [LINE] * TURNS}
        async with OneCarrier.open(bench, folder, greeting=LINES[LINE], faults=faults) as site:
            for many, tally in tallies.items():
                await _measure(site, many, tally, bench)
    return [tally.measured(case(many)) for many, tally in tallies.items()]


def judge(measured: Sequence[Measured]) -> Sequence[Verdict]:
    """Both ways at ten calls."""
    ten = find(measured, SUBJECT, case(MANY[-1]))
    if ten is None:
        return []
    return [
        Verdict(f"{TOLD[way]}, {share}, ms, {case(MANY[-1])}", ten.figures[f"{way}, {share}"].median, limit_ms)
        for way in WAYS
        for share, limit_ms in REACH_MS.items()
    ]


ROW = Row(
    name="delay",
    what="what we add to the reply delay: voice's audio in to frame out, caller's frame in to bytes out",
    run=run,
    judge=judge,
)


@dataclass(slots=True)
class _Tally:
    """What the rounds of one case came to, by figure."""

    values_ms: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, way: str, seen: Histogram) -> None:
        self.counts[way] = self.counts.get(way, 0) + seen.count
        for name, share in SHARES.items():
            self.values_ms.setdefault(f"{way}, {name}", []).append(seen.percentile(share) * 1000)

    def measured(self, name: str) -> Measured:
        return Measured(
            subject=SUBJECT,
            case=name,
            figures={figure: Figure("ms", tuple(values)) for figure, values in self.values_ms.items()},
            lost=len(self.problems),
            processes=2,
            notes=[
                f"of {self.counts.get('reply', 0)} replies and {self.counts.get('caller', 0)} frames of callers",
                "interpolated in the buckets of a histogram, of which there is one a round",
                *self.problems,
            ],
        )


async def _measure(site: OneCarrier, many: int, tally: _Tally, bench: Bench) -> None:
    speech = brief(hello())
    before = await site.scraped()

    async def talk(caller: Caller, _number: int) -> None:
        await _talk(caller, speech)

    made = await site.calls(many, talk)
    after = await site.scraped()
    tally.problems += made.problems
    for way, series in WAYS.items():
        seen = Histogram.read(after, series).since(Histogram.read(before, series))
        tally.add(way, seen)
        p50_ms, p99_ms = (seen.percentile(share) * 1000 for share in SHARES.values())
        bench.tell(f"delay, {case(many)}: {TOLD[way]}: p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms of {seen.count}")


async def _talk(caller: Caller, speech: Speech) -> None:
    await caller.agent_heard(HEARD_S)
    await caller.until_agent_silent(OVER_MS, REPLY_S)
    for _ in range(TURNS):
        spoken = await caller.say(speech)
        await caller.until_agent_audible(REPLY_S, since=spoken.ended_at)
        await caller.until_agent_silent(OVER_MS, REPLY_S)
