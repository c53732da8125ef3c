"""Connections to Redis by whatever address it has, each wait on them with a limit, and none deaf to a cancellation.

redis-py bounds each send by `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that comes in the
moment when the send is done (seen in a third of the cancellations of a busy task). A loop that was told to end then
runs on, and the worker that waits for it never ends.

A server that takes no writes is no use to us: the connection to it is dropped with the error, so that the next one is
made to wherever the primary is by then. With sentinels it is asked for; otherwise the name is resolved anew.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from redis.asyncio import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection, RedisSSLContext
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.utils import str_if_bytes

from pool.base.addresses import SentinelUrl, check_redis_url, checks_certificate, is_sentinel_url, parse_sentinel_url
from pool.base.errors import SettingsInvalid
from pool.base.outage import is_of_a_replica
from pool.base.sentinels import ASK_LIMIT_S, NotPrimary, Sentinels


class UrlInvalid(SettingsInvalid, ValueError):
    """The address of Redis, or one of its options, cannot be."""

    def __init__(self, why: str) -> None:
        super().__init__([f"REDIS_URL: {why}. Cure: write it as the README's section on Redis says."])


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
        url: Of one of the forms in `addresses.py`.
        options: More for each connection, as redis-py names it.

    Raises:
        UrlInvalid: `url` is none of them, has an option that is none, or names a file that cannot be read.
    """
    try:
        check_redis_url(url)
        pool = _pool(url, limits, options)
        first = pool.make_connection()
        if isinstance(first, SSLConnection):
            first.ssl_context.get()
    except TypeError:
        raise UrlInvalid("has an option that there is none of") from None
    except ssl.SSLError:
        raise UrlInvalid("names a file of certificates that holds none") from None
    except OSError as error:
        raise UrlInvalid(f"names a file that cannot be read ({type(error).__name__})") from None
    except (ValueError, RedisError) as error:
        raise UrlInvalid(str(error)) from None
    return pool


def _pool(url: str, limits: ConnectionLimits, options: dict[str, Any]) -> "_ServerPool":
    sentinel_url = parse_sentinel_url(url) if is_sentinel_url(url) else None
    server_url = sentinel_url.server_url if sentinel_url else url
    if not server_url.startswith("unix:"):  # redis-py knows no keepalive for a path
        options["socket_keepalive"] = True
    if server_url.startswith("rediss:"):  # it checks no host name in TLS unless asked
        options["ssl_check_hostname"] = checks_certificate(url)
    options |= {
        "max_connections": limits.connections,
        "timeout": limits.connect_s,
        "socket_connect_timeout": limits.connect_s,
        "socket_timeout": limits.answer_s,
    }
    if sentinel_url is None:
        return _ServerPool.from_url(server_url, **options)
    return _PrimaryPool.from_url(server_url, sentinel_url=sentinel_url, **options)


class _Cancellable(AbstractConnection):
    """A connection whose sends let no cancellation get lost, and which does not outlive a refused write. That it is
    closed is a redis-py ConnectionError on any event loop."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send; a cancellation that was asked for meanwhile is raised, as it would have been.

        The connection is given up then: an answer may be on its way.
        """
        task = asyncio.current_task()
        asked_before = task.cancelling() if task else 0
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:  # uvloop's word for a connection that is closed; Python's own loop says nothing
            await self.disconnect(nowait=True)
            raise RedisConnectionError("the connection was closed") from error
        if task and task.cancelling() > asked_before:
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read one answer. Raises NotPrimary for a write that a replica refused."""
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if not is_of_a_replica(error):
                raise
            await self.disconnect(nowait=True)
            raise NotPrimary("the server is a replica") from None


class _CancellableConnection(_Cancellable, Connection):
    pass


class _CancellableTLSConnection(_Cancellable, SSLConnection):
    pass


class _CancellableUnixConnection(_Cancellable, UnixDomainSocketConnection):
    pass


class _PrimaryOnly(_Cancellable):
    """A connection that a sentinel's word has led to: it is kept only if the server agrees."""

    async def on_connect(self) -> None:
        await super().on_connect()
        await self.send_command("ROLE", check_health=False)
        try:
            role = await self.read_response()
        except NoPermissionError:
            return  # the first write will tell
        if str_if_bytes(role[0]) != "master":
            raise NotPrimary("the server is a replica")


class _PrimaryConnection(_PrimaryOnly, Connection):
    pass


class _PrimaryTLSConnection(_PrimaryOnly, SSLConnection):
    pass


class _ServerPool(BlockingConnectionPool):
    """Connections to one address."""

    KINDS: ClassVar[Mapping[type[AbstractConnection], type[AbstractConnection]]] = {
        Connection: _CancellableConnection,
        SSLConnection: _CancellableTLSConnection,
        UnixDomainSocketConnection: _CancellableUnixConnection,
    }

    def __init__(self, connection_class: type[AbstractConnection] = Connection, **options: Any) -> None:
        super().__init__(connection_class=self.KINDS[connection_class], **options)
        self._tls: RedisSSLContext | None = None

    def make_connection(self) -> AbstractConnection:
        """A connection, not made yet. They share what TLS needs: certificates are read from the disk once."""
        connection = cast(AbstractConnection, super().make_connection())  # type: ignore[no-untyped-call]
        if isinstance(connection, SSLConnection):
            self._tls = self._tls or connection.ssl_context
            connection.ssl_context = self._tls
        return connection


class _PrimaryPool(_ServerPool):
    """Connections to whichever server the sentinels name, none to one that they do not name any more."""

    KINDS: ClassVar[Mapping[type[AbstractConnection], type[AbstractConnection]]] = {
        Connection: _PrimaryConnection,
        SSLConnection: _PrimaryTLSConnection,
    }

    def __init__(self, *, sentinel_url: SentinelUrl, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = Sentinels(
            sentinel_url.service, [self._to_sentinel(sentinel_url, *one) for one in sentinel_url.sentinels]
        )

    def _to_sentinel(self, sentinel_url: SentinelUrl, host: str, port: int) -> AbstractConnection:
        of_servers = ("db", "username", "password", "health_check_interval", "encoding_errors")
        options = {name: value for name, value in self.connection_kwargs.items() if name not in of_servers}
        options |= {"host": host, "port": port, "username": sentinel_url.username, "password": sentinel_url.password}
        options |= {"decode_responses": True, "socket_connect_timeout": ASK_LIMIT_S, "socket_timeout": ASK_LIMIT_S}
        is_secure = issubclass(self.connection_class, SSLConnection)
        return (_CancellableTLSConnection if is_secure else _CancellableConnection)(**options)

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Connect, unless it is connected to the primary of now."""
        assert isinstance(connection, Connection)  # no sentinel names a path
        primary = await self._sentinels.primary()
        if (connection.host, connection.port) != primary:
            await connection.disconnect(nowait=True)
            connection.host, connection.port = primary
        await super().ensure_connection(connection)

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back. One that broke says that something may be wrong with the primary."""
        if not connection.is_connected:
            self._sentinels.doubt()
        await super().release(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Let servers and sentinels go."""
        await super().disconnect(inuse_connections)
        await self._sentinels.close()
