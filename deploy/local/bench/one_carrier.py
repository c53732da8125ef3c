"""A worker with one carrier, beside all it needs, and callers to talk to it: where what roompool adds is measured.

All is real but the voice, which is the simulator, with turns that end sooner than the vendor's: a reply is what is
measured, not the wait for it. Callers live in the bench's own process. The worker has a core of its own, as it would
have a machine of its own: what the load takes from it is no delay of ours.
"""

import asyncio
import contextlib
import json
import secrets
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.caller.caller import Caller
from bridge.caller.errors import CallerError
from deploy.local.bench.cores import a_core_apart, on_core
from deploy.local.bench.row import Bench
from deploy.local.processes import Child
from deploy.local.stack import Stack, StackOptions
from pool.journal import DecisionLog
from pool.registry.connect import lease_redis

CAPACITY = 12
"""Room for ten calls, and for the next ones while the last of them still leave."""

SIMULATOR_ARGS = ("--endpoint-ms", "600", "--onset-ms", "300", "--barge-in-ms", "400", "--lead-silence-ms", "0")
"""Without silence before a reply, its first audio sent is its first to be heard."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Of rooms' names: digits in a row are blacked out in logs, for they might be somebody's number."""

GONE_S = 40.0
"""A caller who broke off may be waited for."""
READY_S = 60.0
ASK_LIMIT_S = 5.0
APART_S = 0.4
"""Between two callers' dialling: joins are another row's matter."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that were made at the same time.

    Attributes:
        callers: Those whose script came to its end.
        problems: Why the others' did not, a sentence each.
    """

    callers: Sequence[Caller]
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class OneCarrier:
    """The stack, and what a row asks of it."""

    stack: Stack

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, bench: Bench, run_dir: Path, *, greeting: str, faults: Mapping[str, object]
    ) -> AsyncIterator["OneCarrier"]:
        """Bring it up, with `faults` as the simulator takes them, and end it with the block.

        Raises:
            StackFailed, NeverSaid, ProcessEnded: A part did not come up.
            CannotMeasure: There is no core for the worker alone.
        """
        options = StackOptions(
            run_dir=run_dir,
            workers=0,
            processes=1,
            capacity=CAPACITY,
            binary=bench.binary,
            worker_env={"ROOMPOOL_GREETING": greeting},
            simulator_args=[
                *SIMULATOR_ARGS,
                *(word for name, value in faults.items() for word in ("--fault", f"{name}={json.dumps(value)}")),
            ],
            ready_within_s=READY_S,
        )
        with a_core_apart() as core:
            async with Stack.start(options) as stack:
                with on_core(core):
                    await stack.add_worker()
                yield cls(stack)

    async def calls(self, many: int, script: Callable[[Caller, int], Awaitable[None]]) -> Calls:
        """So many callers at the same time, each with its number, from dialling to hanging up; one who is not served
        does not end the others' calls.

        Raises:
            NeverSaid: The carrier does not tell that a call has ended.
        """
        callers: list[Caller] = []
        entered: list[Caller] = []
        problems: list[str] = []

        async def call(number: int) -> None:
            await asyncio.sleep(number * APART_S)
            server = self.stack.livekit
            room = f"bench-{''.join(secrets.choice(LETTERS) for _ in range(8))}"
            caller = Caller(server.url, room=room, key=server.api_key, secret=server.api_secret)
            try:
                async with caller:
                    entered.append(caller)
                    await script(caller, number)
            except CallerError as error:
                problems.append(f"caller {number + 1}: {error}")
            else:
                callers.append(caller)

        async with asyncio.TaskGroup() as group:
            for number in range(many):
                group.create_task(call(number), name=f"call {number}")
        for caller in entered:  # so that the next case has the carrier to itself, and its series are whole
            await self._worker.wait_event("call_ended", timeout_s=GONE_S, room=caller.room_name)
        return Calls(callers, problems)

    async def scraped(self) -> str:
        """The worker's `/metrics`."""
        ready = await self._worker.wait_event("worker_ready", timeout_s=READY_S)
        return (await asyncio.to_thread(_get, f"{ready.facts['ops_url']}/metrics")).decode()

    async def said_in(self, room: str) -> list[Mapping[str, Any]]:
        """What the simulator said in a room: `ReplySaid` as JSON, oldest first."""
        redis = lease_redis(self.stack.redis.url)
        try:
            story = await DecisionLog(redis).read(room)
        finally:
            await redis.aclose()
        ours = {one.facts.get("voice_session") for one in story if one.event == "voice_ready"}
        answer = json.loads(await asyncio.to_thread(_get, f"{self.stack.simulator_control_url}/sessions"))
        return [reply for one in answer["sessions"] if one["session_id"] in ours for reply in one["said"]]

    @property
    def _worker(self) -> Child:
        return self.stack.workers[0]


def case(calls: int) -> str:
    """What a case with so many calls at a time is called."""
    return "1 call" if calls == 1 else f"{calls} calls"


def monotonic_of_unix_ms() -> Callable[[float], float]:
    """Turns a moment of this machine's wall clock into the loop's clock, by what they show now."""
    unix_at_zero = time.time() - asyncio.get_running_loop().time()
    return lambda unix_ms: unix_ms / 1000 - unix_at_zero


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=ASK_LIMIT_S) as answer:
        body: bytes = answer.read()
    return body
