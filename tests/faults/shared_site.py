"""A deployment that the faults of a file share, brought up anew when one of them broke it."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.chaos.environments import bring_up
from deploy.local.chaos.fault import CannotInject, Environment, Missed, Moment
from deploy.local.chaos.faults import ALL, BY_NAME
from deploy.local.chaos.site import Site
from deploy.local.chaos.trial import make_trial
from deploy.local.chaos.verdict import Trial
from tests.e2e.site import leaks

CALLERS = 2
"""In a trial, at most: one that is hit and one that is spared. The command brings more."""

CROWD = 6
"""Where callers come one after the other: this must hold on two busy cores; the command brings thirty."""

DELAY_S = 8.0
"""How late deliveries come when they come late: after the agent that came without them."""

TRIES = 3
"""For a trial in which no call was where the fault struck."""


class SharedSite:
    """One deployment at a time."""

    def __init__(self, environment: Environment, folder: Path, binary: Path, settings: Mapping[str, str]) -> None:
        self._environment = environment
        self._folder = folder
        self._binary = binary
        self._settings = settings
        self._lives = 0
        self._site: Site | None = None
        self._ending = contextlib.AsyncExitStack()

    async def try_fault(self, name: str, *, seed: str) -> Trial:
        """One trial. The deployment is thrown away when it broke a promise, or could not be made."""
        fault = BY_NAME[name]
        most = CROWD if fault.moment is Moment.ARRIVING else CALLERS
        fault = replace(fault, calls=min(fault.calls, most))
        site = await self._up()
        self._site = None
        for attempt in range(TRIES):
            with contextlib.suppress(Missed):
                trial = await make_trial(fault, site, number=attempt, seed=seed)
                assert trial.promises_broken == (), self._told(trial)
                assert leaks(site.stack) == []
                self._site = site
                return trial
        pytest.fail(f"in {TRIES} trials no call was where {name} struck")

    async def _up(self) -> Site:
        if self._site is None:
            await self._ending.aclose()
            self._lives += 1
            try:
                folder = self._folder / str(self._lives)
                standing = bring_up(self._environment, folder, binary=self._binary, settings=self._settings)
                self._site = await self._ending.enter_async_context(standing)
                self._site.webhooks.delay_s = DELAY_S
            except CannotInject as error:
                pytest.skip(str(error))
        return self._site

    def _told(self, trial: Trial) -> str:
        return "\n".join([*trial.promises_broken, f"logs: {self._folder / str(self._lives)}"])

    async def down(self) -> None:
        """End it."""
        await self._ending.aclose()


def faults_of(environment: Environment) -> list[str]:
    """The names of this environment's faults."""
    return [fault.name for fault in ALL if fault.environment is environment]
