"""One trial of one fault: callers come and talk, the fault strikes, and it is watched until all is well again.

Everything random in it is drawn from a seed that names the trial, so that a trial can be made again; what the machine
adds of its own cannot.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from random import Random
from typing import assert_never

from bridge.caller.wav import interruption
from deploy.local.chaos.fault import Fault, Injection, Missed, Moment, Scene
from deploy.local.chaos.probe_call import ProbeCall
from deploy.local.chaos.sessions import still_open, unended
from deploy.local.chaos.site import Site, SiteFailed
from deploy.local.chaos.verdict import Trial
from deploy.local.measuring import leaves
from pool.journal import Decision

PHASE_S = 3.0
"""A lease, or three renewals: whatever turns in a worker has turned at least once within it."""

ENDED_S = 30.0
"""For voice sessions to have ended after the last caller left."""


async def make_trial(fault: Fault, site: Site, *, number: int, seed: str) -> Trial:
    """Make one.

    Raises:
        Missed: No call was where the fault struck.
        SiteFailed, CallerError: The deployment was not as it must be, before the fault.
    """
    await site.fill_up()
    began_unix_ms = round(time.time() * 1000)
    question = interruption()
    calls = [ProbeCall(site.caller(fault.name), question) for _ in range(fault.calls)]
    scene = Scene(site, calls, Random(f"{seed}/{fault.name}/{number}"))
    carriers: dict[str, str] = {}
    missed: list[Missed] = []
    try:
        injection = await _live_through(fault, scene, carriers)
    except* Missed as several:
        missed = [error for error in leaves(several) if isinstance(error, Missed)]
    finally:
        await site.mend()
    if missed:
        raise missed[0]
    stories = {call.room: await site.story(call.room) for call in calls}
    carriers |= _tellers(stories.values())
    left_open = await _left_open(site, began_unix_ms, carriers, injection)
    return Trial(
        fault=fault.name,
        number=number,
        seed=seed,
        calls=tuple(
            call.measure(injection, _passes(stories[call.room]), from_coming=fault.moment is not Moment.IN_CALL)
            for call in calls
        ),
        unended=len(left_open),
        broken=injection.broken,
    )


async def _live_through(fault: Fault, scene: Scene, carriers: dict[str, str]) -> Injection:
    """From the first caller's coming to the last one's leaving. `carriers` learns who held which voice session."""
    async with asyncio.TaskGroup() as living:

        def come(call: ProbeCall) -> None:
            living.create_task(call.live(), name=f"live_{call.room}")

        try:
            if fault.prepare is not None:
                await fault.prepare(scene)
            match fault.moment:
                case Moment.IN_CALL:
                    return await _in_call(fault, scene, come, carriers)
                case Moment.BEFORE:
                    return await _before(fault, scene, come)
                case Moment.ARRIVING:
                    return await _while_they_come(fault, scene, come)
                case _:
                    assert_never(fault.moment)
        finally:
            for call in scene.calls:
                call.leave()


Come = Callable[[ProbeCall], None]


async def _in_call(fault: Fault, scene: Scene, come: Come, carriers: dict[str, str]) -> Injection:
    for call in scene.calls:
        come(call)
    await _each(scene, ProbeCall.be_greeted)
    carriers |= _tellers([await scene.site.story(call.room) for call in scene.calls])
    await _random_phase(scene, PHASE_S)
    injection = await fault.inject(scene)
    await _all_served_again(fault, scene, injection)
    return injection


async def _before(fault: Fault, scene: Scene, come: Come) -> Injection:
    injection = await fault.inject(scene)
    for call in scene.calls:
        come(call)
    await _each(scene, ProbeCall.came)
    if fault.until_over is not None:
        await fault.until_over(scene)
    await _all_served_again(fault, scene, injection)
    return injection


async def _while_they_come(fault: Fault, scene: Scene, come: Come) -> Injection:
    async def arrive(call: ProbeCall, after_s: float) -> None:
        await asyncio.sleep(after_s)  # callers do not come at once
        come(call)
        await call.came()
        now = asyncio.get_running_loop().time()
        await call.be_served_again(Injection(at=now, over_at=now), fault.limit_s, speaks_first=True)
        call.leave()

    async with asyncio.TaskGroup() as calls:
        for number, call in enumerate(scene.calls):
            calls.create_task(arrive(call, number * fault.every_s), name=f"call_{call.room}")
        await _random_phase(scene, fault.every_s * len(scene.calls))
        return await fault.inject(scene)


async def _all_served_again(fault: Fault, scene: Scene, injection: Injection) -> None:
    speaks_first = not fault.is_hand_over
    await _each(scene, lambda call: call.be_served_again(injection, fault.limit_s, speaks_first=speaks_first))


async def _random_phase(scene: Scene, within_s: float) -> None:
    """Wait on purpose: faults come at any time of a worker's rounds, and at any word of its agent."""
    await asyncio.sleep(scene.random.uniform(0, within_s))


async def _each(scene: Scene, step: Callable[[ProbeCall], Coroutine[None, None, None]]) -> None:
    """One step of every call, all at the same time."""
    async with asyncio.TaskGroup() as group:
        for call in scene.calls:
            group.create_task(step(call), name=f"step_{call.room}")


def _tellers(stories: Iterable[Sequence[Decision]]) -> dict[str, str]:
    """Voice session to the carrier that told of it."""
    return {
        one.facts["voice_session"]: one.facts.get("carrier", "")
        for story in stories
        for one in story
        if one.event == "voice_ready" and "voice_session" in one.facts
    }


def _passes(story: Sequence[Decision]) -> dict[int, float]:
    """When a room was passed on, by the next fence, on the monotonic clock."""
    unix_at_zero = time.time() - asyncio.get_running_loop().time()
    return {
        int(one.facts["next_fence"]): one.at_unix_ms / 1000 - unix_at_zero
        for one in story
        if one.event == "passed" and "next_fence" in one.facts
    }


async def _left_open(site: Site, since_unix_ms: int, carriers: dict[str, str], injection: Injection) -> list[str]:
    """The voice sessions of the trial that a living process did not end, once all had time to."""

    async def all_ended() -> bool:
        return still_open(await site.voice_sessions(since_unix_ms)) == 0

    with contextlib.suppress(SiteFailed):  # those that are open then are what is asked for
        await site.until(all_ended, "every voice session has ended", limit_s=ENDED_S)
    killed_unix_ms = round((time.time() - (asyncio.get_running_loop().time() - injection.over_at)) * 1000)
    reports = await site.voice_sessions(since_unix_ms)
    return unended(reports, carriers, killed=injection.killed, killed_unix_ms=killed_unix_ms)
