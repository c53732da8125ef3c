"""Connections to Redis and their bounds: one kind for room state, one for the queue. The first command opens them."""

from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis

LEASE_LIMIT_S = 1.0
"""A lease of 3 s is renewed every 0.9 s: an answer that takes longer than this is worth no more than none."""

QUEUE_SOCKET_LIMIT_S = 5.0
"""Must exceed the 2 s a worker blocks for a wake-up token (pool/wake.py)."""

CONNECT_LIMIT_S = 1.0

LEASE_CONNECTIONS = 16
QUEUE_CONNECTIONS = 40
"""Twenty jobs in flight, the blocked wake-up, the poll, and room for a burst of deliveries; a further one waits."""


def lease_redis(redis_url: str) -> Redis:
    """A client for room state: every wait ends within a second, nothing is retried behind the caller's back.

    A connection that the server closed meanwhile is replaced before it is used, which is no retry of a command.
    """
    return Redis.from_pool(_pool(redis_url, socket_timeout_s=LEASE_LIMIT_S, max_connections=LEASE_CONNECTIONS))


def queue_connections(redis_url: str) -> BlockingConnectionPool:
    """The connections of one arq client. arq's own settings have no timeout, so a half-open one would hang its loop."""
    return _pool(redis_url, socket_timeout_s=QUEUE_SOCKET_LIMIT_S, max_connections=QUEUE_CONNECTIONS)


def _pool(redis_url: str, *, socket_timeout_s: float, max_connections: int) -> BlockingConnectionPool:
    # redis-py 5 checks no host name in TLS unless asked; a plain connection does not know the option.
    tls = {"ssl_check_hostname": True} if urlsplit(redis_url).scheme == "rediss" else {}
    return BlockingConnectionPool.from_url(
        redis_url,
        max_connections=max_connections,
        timeout=CONNECT_LIMIT_S,
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=CONNECT_LIMIT_S,
        socket_keepalive=True,
        health_check_interval=15,
        **tls,
    )
