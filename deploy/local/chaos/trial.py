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
from deploy.local.chaos.fault import Fault, Missed, Moment, Scene, Struck, leaves
from deploy.local.chaos.sessions import still_open, unended
from deploy.local.chaos.site import Site, SiteFailed
from deploy.local.chaos.talk import Talk
from deploy.local.chaos.verdict import Trial
from pool.journal import Decision

PHASE_S = 3.0
"""A lease, or three renewals: whatever turns in a worker has turned at least once within it."""

ARRIVING_S = 1.2
"""About as long as a crowd of callers takes to come in."""

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
    talks = [Talk(site.caller(fault.name), question) for _ in range(fault.calls)]
    scene = Scene(site, talks, Random(f"{seed}/{fault.name}/{number}"))
    carriers: dict[str, str] = {}
    missed: list[Missed] = []
    try:
        struck = await _live_through(fault, scene, carriers)
    except* Missed as several:
        missed = [error for error in leaves(several) if isinstance(error, Missed)]
    finally:
        await site.mend()
    if missed:
        raise missed[0]
    stories = {talk.room: await site.story(talk.room) for talk in talks}
    carriers |= _tellers(stories.values())
    left_open = await _left_open(site, began_unix_ms, carriers, struck)
    return Trial(
        fault=fault.name,
        number=number,
        seed=seed,
        calls=tuple(
            talk.measure(struck, _passes(stories[talk.room]), from_coming=fault.moment is not Moment.IN_CALL)
            for talk in talks
        ),
        unended=len(left_open),
        broken=struck.broken,
    )


async def _live_through(fault: Fault, scene: Scene, carriers: dict[str, str]) -> Struck:
    """From the first caller's coming to the last one's leaving. `carriers` learns who held which voice session."""
    async with asyncio.TaskGroup() as living:

        def come() -> None:
            for talk in scene.talks:
                living.create_task(talk.live(), name=f"live_{talk.room}")

        try:
            if fault.prepare is not None:
                await fault.prepare(scene)
            struck = await _strike(fault, scene, carriers, come)
            if fault.until_over is not None:
                await fault.until_over(scene)
            await _each(
                scene,
                lambda talk: talk.be_served_again(struck, fault.limit_s, speaks_first=not fault.is_hand_over),
            )
        finally:
            for talk in scene.talks:
                talk.leave()
    return struck


async def _strike(fault: Fault, scene: Scene, carriers: dict[str, str], come: Callable[[], None]) -> Struck:
    """Let the callers come and the fault strike, in the fault's own order."""
    match fault.moment:
        case Moment.IN_CALL:
            come()
            await _each(scene, Talk.be_greeted)
            carriers |= _tellers([await scene.site.story(talk.room) for talk in scene.talks])
            await _random_phase(scene, PHASE_S)
            return await fault.strike(scene)
        case Moment.BEFORE:
            struck = await fault.strike(scene)
            come()
            await _each(scene, Talk.came)
            return struck
        case Moment.ARRIVING:
            come()
            await _random_phase(scene, ARRIVING_S)
            struck = await fault.strike(scene)
            await _each(scene, Talk.came)
            return struck
        case _:
            assert_never(fault.moment)


async def _random_phase(scene: Scene, within_s: float) -> None:
    """Wait on purpose: faults come at any time of a worker's rounds, and at any word of its agent."""
    await asyncio.sleep(scene.random.uniform(0, within_s))


async def _each(scene: Scene, step: Callable[[Talk], Coroutine[None, None, None]]) -> None:
    """One step of every call, all at the same time."""
    async with asyncio.TaskGroup() as group:
        for talk in scene.talks:
            group.create_task(step(talk), name=f"step_{talk.room}")


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


async def _left_open(site: Site, since_unix_ms: int, carriers: dict[str, str], struck: Struck) -> list[str]:
    """The voice sessions of the trial that a living process did not end, once all had time to."""

    async def all_ended() -> bool:
        return still_open(await site.voice_sessions(since_unix_ms)) == 0

    with contextlib.suppress(SiteFailed):  # those that are open then are what is asked for
        await site.until(all_ended, "every voice session has ended", limit_s=ENDED_S)
    killed_unix_ms = round((time.time() - (asyncio.get_running_loop().time() - struck.over_at)) * 1000)
    reports = await site.voice_sessions(since_unix_ms)
    return unended(reports, carriers, killed=struck.killed, killed_unix_ms=killed_unix_ms)
