"""A carrier under calls, looked at twice: its threads as the kernel counts them, then its stacks by py-spy."""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from bridge.caller.caller import Caller
from bridge.caller.errors import CallerError
from deploy.local.ending import FAILED, OK
from deploy.local.measuring import leaves, measure, tell
from deploy.local.profile import threads
from deploy.local.profile.options import Options
from deploy.local.profile.recording import CannotTrace, record
from deploy.local.profile.told import Report, as_json, as_text
from deploy.local.stack import Stack, StackFailed, StackOptions
from deploy.local.valkey import NoValkey

GREETED_S = 45.0
"""For an agent to be heard, on a machine that is busy with all of them."""

QUIET_MS = 1500
"""Of silence, after which a greeting is over."""

SETTLE_S = 2.0
"""After the last caller: what only joining costs is not part of a call."""


def carry_out(options: Options) -> int:
    """Look at the carrier, and print what was seen; the exit status. Logs are kept, and named, when it failed."""
    return measure("profile", lambda run_dir, binary: _run(options, run_dir, binary))


async def _run(options: Options, run_dir: Path, binary: Path) -> int:
    report: Report | None = None
    try:
        report = await look(options, run_dir, binary)
    except* (StackFailed, NoValkey, CallerError, threads.NoSuchProcess) as several:
        for error in leaves(several):
            tell(f"error: {error}")
    if report is None:
        return FAILED
    sys.stdout.write((as_json(report) if options.as_json else as_text(report)) + "\n")
    return OK


async def look(options: Options, run_dir: Path, binary: Path) -> Report:
    """Bring up all, let callers come, and look.

    Raises:
        StackFailed, NoValkey: A part did not come up.
        CallerError: A caller did not come in, or heard no agent.
        NoSuchProcess: The carrier died, or this is no Linux.
    """
    stack_options = StackOptions(
        run_dir=run_dir,
        workers=1,
        processes=1,
        capacity=options.calls,
        binary=binary,
        worker_env={
            "ROOMPOOL_VOICE_DIALECT": "loopback",
            "ROOMPOOL_VOICE_URL": "loopback:always" if options.speaking else "loopback:once",
            "ROOMPOOL_RECYCLE_CALLS": "0",
            **options.settings,
        },
    )
    tell(f"bringing up a worker of one carrier, logs in {run_dir}")
    async with Stack.start(stack_options) as stack:
        started = await stack.workers[0].wait_event("carrier_started")
        pid = int(started.facts["pid"])
        async with AsyncExitStack() as calls:
            await _fill(calls, stack, options)
            return await _look_at(pid, options, run_dir)


async def _fill(calls: AsyncExitStack, stack: Stack, options: Options) -> None:
    """Have the callers come in one after the other, and wait until each has its agent and nobody is being greeted."""
    server = stack.livekit
    callers = []
    for number in range(options.calls):
        caller = Caller(server.url, room=f"profile-{number}", key=server.api_key, secret=server.api_secret)
        callers.append(await calls.enter_async_context(caller))
    tell(f"{options.calls} callers are in their rooms")
    for caller in callers:
        await caller.agent_heard(GREETED_S)
    if not options.speaking:
        for caller in callers:
            await caller.until_agent_silent(QUIET_MS, GREETED_S)
    await asyncio.sleep(SETTLE_S)


async def _look_at(pid: int, options: Options, run_dir: Path) -> Report:
    tell(f"counting the CPU of process {pid} for {options.seconds:g} s")
    before = threads.read(pid, now_s=time.monotonic())
    await asyncio.sleep(options.seconds)
    after = threads.read(pid, now_s=time.monotonic())
    shares = threads.shares(before, after, ticks_per_s=os.sysconf("SC_CLK_TCK"))
    tell(f"recording its stacks for {options.seconds:g} s")
    try:
        profile, is_native = await record(pid, seconds=options.seconds, run_dir=run_dir)
    except CannotTrace as error:
        return Report(options=options, threads=shares, problem=str(error))
    return Report(options=options, threads=shares, profile=profile, is_native=is_native)
