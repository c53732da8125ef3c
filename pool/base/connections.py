"""Connections to Redis by whatever address it has, each wait on them with a limit."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool


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
    return BlockingConnectionPool.from_url(
        url,
        max_connections=limits.connections,
        timeout=limits.connect_s,
        socket_connect_timeout=limits.connect_s,
        socket_timeout=limits.answer_s,
        **options,
    )
