"""Which server is the primary now, by what a set of sentinels says.

All sentinels are asked at once, and of their answers the one of the latest failover counts: a sentinel that was cut off
still names the primary of before. Asked again once a second while commands go out, because a primary that was deposed
while it was frozen or cut off takes writes for some seconds more, and connections to it look well.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError

from pool.base.addresses import Address

log = structlog.get_logger()

ASK_LIMIT_S = 0.5
"""For all of them together. Whoever has not answered by then is not heard."""

LATE_S = 0.02
"""How much longer the others are waited for once most have answered."""

TRUST_S = 1.0
"""How long an answer is taken for true; a lease lives three times as long."""


class NoPrimary(Unreachable):
    """No sentinel that answered knows a primary, and none was known before."""


class UnknownService(NoPrimary):
    """The sentinels answered, and none has ever heard of the service."""


class NotPrimary(Unreachable):
    """The server takes no writes: it is a replica, perhaps since a moment ago. The connection to it is dropped."""


@dataclass(frozen=True, slots=True)
class Named:
    """What one sentinel says."""

    primary: Address
    epoch: int
    """Rises with each failover; 0 when the sentinel may not tell."""


def latest(named: Sequence[Named]) -> Address | None:
    """The primary of the latest failover that any of the sentinels has seen."""
    return max(named, key=lambda one: one.epoch).primary if named else None


class Sentinels:
    """Asks, and remembers. Safe to share between tasks; they ask once for all.

    Args:
        connections: One to each sentinel, not made yet; answers as text. They are ours from now on.
    """

    def __init__(self, service: str, connections: Sequence[AbstractConnection]) -> None:
        self._service = service
        self._connections = connections
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._known: Address | None = None
        self._is_unknown_service = False

    async def primary(self) -> Address:
        """Where the primary is. While no sentinel answers: where it was last.

        Raises:
            NoPrimary: within `ASK_LIMIT_S`, or that again when others ask at the same time.
        """
        began_at = asyncio.get_running_loop().time()
        if self._known is None or began_at - self._asked_at > TRUST_S:
            async with self._asking:
                if self._asked_at < began_at:  # else somebody has asked while we waited
                    await self._learn()
        if self._known is None:
            kind = UnknownService if self._is_unknown_service else NoPrimary
            raise kind(f"sentinels asked: {len(self._connections)}")
        return self._known

    def doubt(self) -> None:
        """Something was wrong with the primary: ask again before the next connection is used."""
        self._asked_at = float("-inf")

    async def close(self) -> None:
        """Let the sentinels go. They are called again when somebody asks."""
        for connection in self._connections:
            await connection.disconnect(nowait=True)

    async def _learn(self) -> None:
        answers = await self._ask()
        self._is_unknown_service = bool(answers) and not any(answers)
        self._asked_at = asyncio.get_running_loop().time()
        found = latest([answer for answer in answers if answer is not None])
        if found is None:
            return
        if self._known not in (None, found):
            log.warning("redis_primary_changed", service=self._service, host=found[0], port=found[1])
        self._known = found

    async def _ask(self) -> list[Named | None]:
        """The answers that came in time; None for a sentinel that does not know the service."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ASK_LIMIT_S
        answers: list[Named | None] = []
        async with asyncio.TaskGroup() as group:
            asked = {group.create_task(self._ask_one(one), name="ask_sentinel") for one in self._connections}
            while asked and (left_s := until - loop.time()) > 0:
                heard, asked = await asyncio.wait(asked, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                for task in heard:
                    answers += task.result()
                if len(answers) > len(self._connections) // 2:
                    until = min(until, loop.time() + LATE_S)
            for task in asked:
                task.cancel()
        return answers

    async def _ask_one(self, connection: AbstractConnection) -> list[Named | None]:
        """One answer, or none at all."""
        try:
            # redis-py leaves both untyped. Something to read before we asked: it said good-bye meanwhile.
            if connection.is_connected and await connection.can_read_destructive():  # type: ignore[no-untyped-call]
                await connection.disconnect(nowait=True)
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            address = await connection.read_response()
            if address is None:
                return [None]
            return [Named((address[0], int(address[1])), await self._epoch(connection))]
        except (RedisError, OSError):
            await connection.disconnect(nowait=True)
            return []

    async def _epoch(self, connection: AbstractConnection) -> int:
        await connection.send_command("SENTINEL", "MASTER", self._service)
        try:
            flat = await connection.read_response()
        except RedisError:
            if connection.is_connected:  # a reply: our user may ask for the address alone
                return 0
            raise
        facts = dict(zip(flat[::2], flat[1::2], strict=False))
        return int(facts.get("config-epoch", 0))
