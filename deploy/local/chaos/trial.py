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

        def come(talk: Talk) -> None:
            living.create_task(talk.live(), name=f"live_{talk.room}")

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
            for talk in scene.talks:
                talk.leave()


Come = Callable[[Talk], None]


async def _in_call(fault: Fault, scene: Scene, come: Come, carriers: dict[str, str]) -> Struck:
    for talk in scene.talks:
        come(talk)
    await _each(scene, Talk.be_greeted)
    carriers |= _tellers([await scene.site.story(talk.room) for talk in scene.talks])
    await _random_phase(scene, PHASE_S)
    struck = await fault.strike(scene)
    await _all_served_again(fault, scene, struck)
    return struck


async def _before(fault: Fault, scene: Scene, come: Come) -> Struck:
    struck = await fault.strike(scene)
    for talk in scene.talks:
        come(talk)
    await _each(scene, Talk.came)
    if fault.until_over is not None:
        await fault.until_over(scene)
    await _all_served_again(fault, scene, struck)
    return struck


async def _while_they_come(fault: Fault, scene: Scene, come: Come) -> Struck:
    async def call(talk: Talk, after_s: float) -> None:
        await asyncio.sleep(after_s)  # callers do not come at once
        come(talk)
        await talk.came()
        now = asyncio.get_running_loop().time()
        await talk.be_served_again(Struck(at=now, over_at=now), fault.limit_s, speaks_first=True)
        talk.leave()

    async with asyncio.TaskGroup() as calls:
        for number, talk in enumerate(scene.talks):
            calls.create_task(call(talk, number * fault.every_s), name=f"call_{talk.room}")
        await _random_phase(scene, fault.every_s * len(scene.talks))
        return await fault.strike(scene)


async def _all_served_again(fault: Fault, scene: Scene, struck: Struck) -> None:
    speaks_first = not fault.is_hand_over
    await _each(scene, lambda talk: talk.be_served_again(struck, fault.limit_s, speaks_first=speaks_first))


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
