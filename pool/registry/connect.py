"""The connections that leases go over: short limits, and no retries that would hide how late an answer is."""

from redis.asyncio import Redis

from pool.base.connections import ConnectionLimits, redis_connections

LIMITS = ConnectionLimits(connections=16, connect_s=1.0, answer_s=1.0)
"""A lease of three seconds is renewed every 0.9 s: an answer later than this is worth no more than none."""


def lease_redis(url: str) -> Redis:
    """A client for `Rooms`, `Carriers` and `DecisionLog`. It connects when first used; `await client.aclose()` ends it.

    redis-py 5.3 repeats nothing by default. Bytes that are not UTF-8 (somebody else's) are shown escaped, never raised.

    Raises:
        ValueError: `url` is none that redis-py knows.
    """
    return Redis.from_pool(redis_connections(url, LIMITS, decode_responses=True, encoding_errors="backslashreplace"))
