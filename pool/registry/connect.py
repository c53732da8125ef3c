"""The connections that leases go over: short limits, and no retries that would hide how late an answer is."""

import redis.asyncio as redis_asyncio

SOCKET_TIMEOUT_S = 1.0
"""An answer later than this is worth nothing to a lease of three seconds."""


def lease_redis(url: str) -> "redis_asyncio.Redis":
    """A client for `Rooms`, `Carriers` and `DecisionLog`. It connects when first used; `await client.aclose()` ends it.

    redis-py 5.3 retries nothing by default. Bytes that are not UTF-8 (somebody else's) are shown escaped, never raised.
    """
    return redis_asyncio.Redis.from_url(  # type: ignore[no-any-return]
        url,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        socket_keepalive=True,
        retry_on_timeout=False,
        decode_responses=True,
        encoding_errors="backslashreplace",
    )
