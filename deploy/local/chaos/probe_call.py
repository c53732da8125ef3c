"""One caller in one room while something goes wrong: what it does, and whether it is served again."""

import asyncio
import contextlib
from collections.abc import Mapping

from bridge.caller.caller import Caller
from bridge.caller.errors import CallerError, NotInTime
from bridge.caller.sound import Speech
from bridge.caller.witness import AgentStay
from deploy.local.chaos.fault import Injection
from deploy.local.chaos.measure import CallMeasured, Window, later_grants, measured

COMES_S = 45.0
"""For the first agent, on a machine that may be busy. Never judged."""

ANSWER_S = 8.0
"""For a reply to begin, on a busy machine. A question that met the moment in which an agent went is asked again."""

SPEAKS_FIRST_S = 6.0
"""For the sentence with which a next agent begins. One that says nothing is no failure: it is asked."""

NEXT_S = 10.0
"""For a next agent, where there may be one. After this we ask, and see whether anybody answers."""


class ProbeCall:
    """A caller, from coming to hanging up. `live` is its task.

    Attributes:
        caller: Who watches. Replaced when a fault lets somebody come back.
        fence: The grant of the agent that was there before the fault; 0 until it is noted.
    """

    def __init__(self, caller: Caller, question: Speech) -> None:
        """`question` is long enough to interrupt an agent that speaks."""
        self.room = caller.room_name
        self.fence = 0
        self.caller = caller
        self._question = question
        self._answered = False
        self._problem = ""
        self._came = asyncio.Event()
        self._leave = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def live(self) -> None:
        """Task: be in the room until told to leave."""
        async with self.caller:
            self._came.set()
            await self._leave.wait()

    def leave(self) -> None:
        """Hang up, soon."""
        self._leave.set()

    async def came(self) -> None:
        """Wait until the caller is in the room."""
        await self._came.wait()

    # -- before the fault

    async def be_greeted(self) -> None:
        """Wait until an agent begins its greeting, and note by which grant it came.

        Raises:
            CallerError: Nobody came, or nobody was heard.
        """
        await self.came()
        await self.caller.agent_heard(COMES_S)
        self.fence = max((stay.fence for stay in self.caller.witness.stays), default=0)

    # -- after it

    async def be_served_again(self, injection: Injection, limit_s: float, *, speaks_first: bool) -> None:
        """Wait until an agent answers, and nobody else is there. What does not happen in time is noted, not raised.

        Args:
            speaks_first: A next agent says something of its own accord, which is waited for.
        """
        deadline = max(injection.over_at, self._loop.time()) + limit_s
        try:
            if self.fence == 0:
                await self.caller.agent_heard(deadline - self._loop.time())
            elif self.room in injection.may_move:
                await self._next_agent(deadline, speaks_first=speaks_first)
            await self._be_answered(deadline)
        except CallerError as error:
            self._problem = str(error)

    async def _next_agent(self, deadline: float, *, speaks_first: bool) -> None:
        """The next agent, with what it says of its own accord; one that does not come may not have been needed."""

        def there() -> AgentStay | None:
            later = later_grants(self.caller.witness.stays, self.fence)
            return next((stay for stay in later if stay.subscribed_at is not None), None)

        patience_s = min(NEXT_S, deadline - self._loop.time())
        with contextlib.suppress(NotInTime):
            stay = await self.caller.until(there, what="no other agent came", timeout_s=patience_s)
            if speaks_first:
                await self.caller.agent_heard(SPEAKS_FIRST_S, since=stay.seen_at)

    async def _be_answered(self, deadline: float) -> None:
        while not self._answered:
            said = await self.caller.say(self._question)
            try:
                await self.caller.until_agent_audible(ANSWER_S, since=said.ended_at)
            except NotInTime:
                if self._loop.time() > deadline:
                    raise
                continue
            await self.caller.until(
                lambda: len(self.caller.witness.present) == 1 or None,
                what="two agents are still present",
                timeout_s=SPEAKS_FIRST_S,
            )
            self._answered = True

    def measure(self, injection: Injection, passes: Mapping[int, float], *, from_coming: bool) -> CallMeasured:
        """The numbers of this call.

        Args:
            passes: See `Window`.
            from_coming: Count from the moment in which the caller was in the room, not from the fault.
        """
        at = self.caller.connected_at if from_coming else injection.at
        until = self.caller.left_at or self._loop.time()
        window = Window(at, max(at, injection.over_at), until, self.fence, passes)
        return measured(
            self.caller.witness,
            window,
            room=self.room,
            moves_allowed=injection.may_move.get(self.room, 0),
            answered=self._answered,
            problem=self._problem,
        )
