"""Connections to Redis by whatever address it has, each wait on them with a limit, and none deaf to a cancellation.

redis-py bounds each send by `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that comes in the
moment when the send is done (seen in a third of the cancellations of a busy task). A loop that was told to end then
runs on, and the worker that waits for it never ends.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be, and how long each wait may last."""

    connections: int
    """A command that finds all of them busy waits for one."""
    connect_s: float
    """For a connection: to be made, or to be free."""
    answer_s: float


def redis_connections(url: str, limits: ConnectionLimits, **options: Any) -> BlockingConnectionPool:
    """A pool that connects when first used.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        options: More for each connection, as redis-py names it.

    Raises:
        ValueError: `url` is none that redis-py knows.
    """
    scheme = urlsplit(url).scheme
    if scheme != "unix":  # redis-py knows no keepalive for a path
        options["socket_keepalive"] = True
    if scheme == "rediss":  # it checks no host name in TLS unless asked; a plain connection does not know the option
        options["ssl_check_hostname"] = True
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=limits.connections,
        timeout=limits.connect_s,
        socket_connect_timeout=limits.connect_s,
        socket_timeout=limits.answer_s,
        **options,
    )
    pool.connection_class = HEEDING[pool.connection_class]  # from_url has chosen one by the scheme
    return pool


class _Heeding(AbstractConnection):
    """A connection whose sends let no cancellation get lost."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send; a cancellation that was asked for meanwhile is raised, as it would have been.

        The connection is given up then: an answer may be on its way.
        """
        task = asyncio.current_task()
        asked_before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > asked_before:
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError


class _HeedingConnection(_Heeding, Connection):
    pass


class _HeedingTLSConnection(_Heeding, SSLConnection):
    pass


class _HeedingUnixConnection(_Heeding, UnixDomainSocketConnection):
    pass


HEEDING: Mapping[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: _HeedingConnection,
    SSLConnection: _HeedingTLSConnection,
    UnixDomainSocketConnection: _HeedingUnixConnection,
}
