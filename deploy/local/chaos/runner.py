"""Many trials of many faults: environments are shared, what broke is kept, and all of it is told."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import groupby
from pathlib import Path

from bridge.caller.errors import CallerError
from deploy.local.chaos.environments import bring_up
from deploy.local.chaos.fault import CannotInject, Fault, Missed
from deploy.local.chaos.faults import BY_NAME
from deploy.local.chaos.options import Options
from deploy.local.chaos.site import Site, SiteFailed
from deploy.local.chaos.trial import make_trial
from deploy.local.chaos.verdict import FaultReport, Trial, report, skipped
from deploy.local.measuring import leaves
from deploy.local.sentinel import NoFailover
from deploy.local.server import ServerFailed

TRIAL_LIMIT_S = 240.0
"""No trial takes half of this; one that does is a bug of ours, and not left to hang."""

TRIES = 3
"""For a trial in which nothing was tried: no call was where the fault struck, or a caller was not served before it."""

Tell = Callable[[str], None]


class Runner:
    """Makes the trials that the options ask for. Logs and stories go into `run_dir`."""

    def __init__(self, options: Options, run_dir: Path, tell: Tell, *, binary: Path | None = None) -> None:
        self._options = options
        self._run_dir = run_dir
        self._tell = tell
        self._binary = binary
        self._deployments = 0

    async def run(self) -> list[FaultReport]:
        """All of them, environment by environment."""
        reports: list[FaultReport] = []
        by_environment = sorted(
            (BY_NAME[name] for name in self._options.faults), key=lambda fault: fault.environment.value
        )
        for _, faults in groupby(by_environment, key=lambda fault: fault.environment):
            reports += await self._in_environment(list(faults))
        return sorted(reports, key=lambda one: self._options.faults.index(one.fault))

    async def _in_environment(self, faults: Sequence[Fault]) -> list[FaultReport]:
        wanted = [(fault, number) for fault in faults for number in range(1, self._options.trials + 1)]
        trials: list[Trial] = []
        try:
            while wanted:
                trials += await self._until_it_breaks(wanted)
        except CannotInject as error:
            self._tell(f"skipped: {', '.join(fault.name for fault in faults)}: {error}")
            return [skipped(fault.name, str(error)) for fault in faults]
        return [
            report(fault.name, [one for one in trials if one.fault == fault.name], is_hand_over=fault.is_hand_over)
            for fault in faults
        ]

    async def _until_it_breaks(self, wanted: list[tuple[Fault, int]]) -> list[Trial]:
        """Make trials on one deployment, taking them off the list, until all are made or one broke something."""
        done: list[Trial] = []
        async with self._deployment(wanted[0][0]) as (site, folder):
            while wanted:
                fault, number = wanted.pop(0)
                trial = await self._try(fault, number, site)
                if trial.promises_broken:
                    stories = [await site.keep_story(call.room, folder) for call in trial.calls]
                    trial = dataclasses.replace(trial, kept=(str(folder), *stories))
                self._tell(told(trial))
                done.append(trial)
                if trial.promises_broken:
                    break
        return done

    @contextlib.asynccontextmanager
    async def _deployment(self, fault: Fault) -> AsyncIterator[tuple[Site, Path]]:
        self._deployments += 1
        folder = self._run_dir / f"{self._deployments}-{fault.environment.value}"
        self._tell(f"bringing up {fault.environment.value}, logs in {folder}")
        async with bring_up(fault.environment, folder, binary=self._binary, settings=self._options.settings) as site:
            yield site, folder

    async def _try(self, fault: Fault, number: int, site: Site) -> Trial:
        """One trial, made again when nothing was tried; one that cannot be made has broken its promise."""
        why = ""
        for attempt in range(TRIES):
            seed = self._options.seed if attempt == 0 else f"{self._options.seed}+{attempt}"
            try:
                async with asyncio.timeout(TRIAL_LIMIT_S):
                    return await make_trial(fault, site, number=number, seed=seed)
            except* (Missed, SiteFailed, CallerError, ServerFailed, NoFailover, TimeoutError) as several:
                why = "; ".join(sorted({str(error) or type(error).__name__ for error in leaves(several)}))
            self._tell(f"{fault.name} {number}: nothing was tried: {why}")
        return Trial(fault=fault.name, number=number, seed=seed, calls=(), broken=(f"could not be tried: {why}",))


def told(trial: Trial) -> str:
    """One line of progress, and one for each broken promise and each file that tells of it."""
    joined = [f"{call.joined_s:.2f}" for call in trial.calls if call.joined_s is not None]
    heard = [f"{call.heard_s:.2f}" for call in trial.calls if call.heard_s is not None]
    gaps = [f"{gap * 1000:.0f}" for call in trial.calls for gap in call.hand_over_s]
    facts = [
        f"{len(trial.calls)} calls",
        f"joined {' '.join(joined)} s" if joined else "",
        f"heard {' '.join(heard)} s" if heard else "",
        f"gap {' '.join(gaps)} ms" if gaps else "",
    ]
    state = "BROKEN" if trial.promises_broken else "ok"
    lines = [f"{trial.fault} {trial.number}: {state}  {', '.join(fact for fact in facts if fact)}"]
    lines += [f"    {text}" for text in trial.promises_broken]
    return "\n".join([*lines, *(f"    kept: {path}" for path in trial.kept)])


def is_ok(reports: Sequence[FaultReport]) -> bool:
    """Whether every promise was kept. A fault that cannot be tried here breaks none."""
    return all(one.ok for one in reports)
