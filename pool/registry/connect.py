"""The connections that leases go over: short limits, and no retries that would hide how late an answer is."""

from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis

ANSWER_LIMIT_S = 1.0
"""A lease of three seconds is renewed every 0.9 s: an answer later than this is worth no more than none."""

MAX_CONNECTIONS = 16
"""A command that finds all of them busy waits, for as long as it would for a connection."""


def lease_redis(url: str) -> Redis:
    """A client for `Rooms`, `Carriers` and `DecisionLog`. It connects when first used; `await client.aclose()` ends it.

    redis-py 5.3 repeats nothing by default. Bytes that are not UTF-8 (somebody else's) are shown escaped, never raised.

    Raises:
        ValueError: `url` is none that redis-py knows.
    """
    # redis-py knows no keepalive for a path, and checks no host name in TLS unless asked.
    scheme = urlsplit(url).scheme
    network = {} if scheme == "unix" else {"socket_keepalive": True}
    tls = {"ssl_check_hostname": True} if scheme == "rediss" else {}
    connections = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=ANSWER_LIMIT_S,
        socket_timeout=ANSWER_LIMIT_S,
        socket_connect_timeout=ANSWER_LIMIT_S,
        decode_responses=True,
        encoding_errors="backslashreplace",
        **network,
        **tls,
    )
    return Redis.from_pool(connections)
