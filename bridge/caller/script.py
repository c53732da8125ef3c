"""What `roompool call` does in a room: wait for the agent, let it greet, take turns, interrupt it, hang up."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bridge.caller.caller import Caller
from bridge.caller.errors import CallOver, NotInTime
from bridge.caller.report import Findings, Made, Report, Turn, measure
from bridge.caller.sound import Speech

SEEN_S = 20.0
"""Front-ends give an agent this long before they call the session failed."""

GREETING_S = 8.0
"""An agent that has not greeted by then lets the caller speak first."""

REPLY_S = 15.0
REPLY_ENDS_S = 60.0
STOPS_S = 5.0

TURN_OVER_MS = 800
"""A reply is over after this much silence; pauses between its sentences are shorter."""

SILENT_MS = 600
"""The agent has stopped for an interruption when it has been silent this long: longer than the pauses of speech."""

INTERRUPT_AFTER_S = 1.4
"""Into the reply: past its first words, and past the pause that follows them (the simulator's is 0.3 s)."""

Tell = Callable[[float, str], None]
"""Told of each step: when it happened, in ms from the start of connect, and a short sentence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do in the room. `stay_s` is how long the call lasts at least; 0 ends it when the script is over."""

    speech: Speech
    interruption: Speech
    turns: int = 1
    barge_in: bool = False
    stay_s: float = 0.0


async def call(caller: Caller, plan: Plan, tell: Tell) -> Report:
    """Make one call, from joining to hanging up, and report it.

    Raises:
        CannotJoin: LiveKit did not let us in. All else that goes wrong is a problem in the report.
    """
    findings = Findings()
    async with caller:
        try:
            await _Script(caller, plan, tell, findings).run()
        except (NotInTime, CallOver) as error:
            findings.problems.append(str(error))
        await caller.hang_up()
    made = Made(
        room=caller.room_name,
        identity=caller.identity,
        began_at=caller.connect_began_at,
        connected_at=caller.connected_at,
        left_at=caller.left_at,
        connection=caller.connection,
    )
    report = measure(caller.witness, findings, made)
    tell(report.left_ms, "hung up")
    return report


class _Script:
    """The steps of one call, and the telling of them."""

    def __init__(self, caller: Caller, plan: Plan, tell: Tell, findings: Findings) -> None:
        self._caller = caller
        self._plan = plan
        self._tell = tell
        self._findings = findings

    async def run(self) -> None:
        """All of it, in order.

        Raises:
            NotInTime, CallOver: a step did not happen; the rest is not tried.
        """
        caller, plan = self._caller, self._plan
        self._say_when(caller.connected_at, f"connected to the room as {caller.identity}")
        stay = await caller.agent_seen(SEEN_S)
        self._say_when(stay.seen_at, f"agent {stay.identity} is in the room")
        await self._greeting()
        for _ in range(plan.turns):
            await self._turn()
            await caller.until_agent_silent(TURN_OVER_MS, REPLY_ENDS_S)
        if plan.barge_in:
            await self._barge_in()
        left_s = caller.connected_at + plan.stay_s - asyncio.get_running_loop().time()
        await caller.stay(max(0.0, left_s))

    async def _greeting(self) -> None:
        caller = self._caller
        try:
            heard_at = await caller.agent_heard(GREETING_S)
        except NotInTime:
            self._say_when(asyncio.get_running_loop().time(), "no greeting; the caller speaks first")
            return
        self._say_when(heard_at, "agent heard")
        silent_at = await caller.until_agent_silent(TURN_OVER_MS, REPLY_ENDS_S)
        self._say_when(silent_at, "agent finished its greeting")

    async def _turn(self) -> float:
        """Speak and wait for the answer; returns when it was heard."""
        spoken = await self._caller.say(self._plan.speech)
        turn = Turn(said_ms=self._ms(spoken.ended_at))
        self._findings.turns.append(turn)
        self._say_when(spoken.ended_at, f"caller spoke for {spoken.ended_at - spoken.started_at:.1f} s")
        heard_at = await self._caller.until_agent_audible(REPLY_S, since=spoken.ended_at)
        turn.reply_delay_ms = round((heard_at - spoken.ended_at) * 1000)
        self._say_when(heard_at, f"reply heard, {turn.reply_delay_ms} ms after the caller's last word")
        return heard_at

    async def _barge_in(self) -> None:
        heard_at = await self._turn()
        await asyncio.sleep(max(0.0, heard_at + INTERRUPT_AFTER_S - asyncio.get_running_loop().time()))
        spoken = await self._caller.say(self._plan.interruption)
        self._say_when(spoken.started_at, "caller interrupts")
        stopped_at = await self._caller.fell_silent(spoken.started_at, SILENT_MS, STOPS_S)
        stop_ms = round((stopped_at - spoken.started_at) * 1000)
        self._findings.barge_in_stop_ms = stop_ms
        self._say_when(stopped_at, f"agent fell silent, {stop_ms} ms after the interruption began")

    def _ms(self, at: float) -> int:
        return round((at - self._caller.connect_began_at) * 1000)

    def _say_when(self, at: float, what: str) -> None:
        self._tell(self._ms(at), what)
