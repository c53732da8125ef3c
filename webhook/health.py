"""Whether the receiver should be sent deliveries: up, not stopping, and Redis there and fit when it last looked."""

import asyncio
import enum
from typing import Protocol

import structlog

from pool.client import PoolUnfit, PoolUnreachable

log = structlog.get_logger()

LOOK_EVERY_S = 2.0


class Reachable(Protocol):
    """Something that can be asked whether it is there."""

    async def ping(self) -> None: ...


class State(enum.Enum):
    """Why the receiver is ready, or is not."""

    STARTING = "starting"
    READY = "ready"
    POOL_UNREACHABLE = "pool_unreachable"
    POOL_UNFIT = "pool_unfit"
    DRAINING = "draining"


class Health:
    """The receiver's state. Once it drains it never goes back."""

    def __init__(self) -> None:
        self._state = State.STARTING
        self._unfit_because = ""

    def ready(self) -> tuple[bool, str]:
        """The check behind `/readyz`."""
        reason = self._unfit_because if self._state is State.POOL_UNFIT else self._state.value
        return self._state is State.READY, reason

    def drain(self) -> None:
        """Ask to be sent nothing more."""
        self._enter(State.DRAINING)

    async def look(self, pool: Reachable) -> None:
        """Ask Redis once. Not being reachable is an answer, not an error."""
        try:
            await pool.ping()
        except PoolUnfit as error:
            self._unfit_because = str(error)
            self._enter(State.POOL_UNFIT)
        except PoolUnreachable:
            self._enter(State.POOL_UNREACHABLE)
        else:
            self._enter(State.READY)

    async def watch(self, pool: Reachable) -> None:
        """Ask Redis again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look(pool)

    def _enter(self, state: State) -> None:
        if state is not self._state and self._state is not State.DRAINING:
            log.info("readiness_changed", was=self._state.value, now=state.value)
            self._state = state
