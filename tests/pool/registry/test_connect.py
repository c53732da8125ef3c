"""The connections that leases go over."""

import pytest
from redis.exceptions import ConnectionError as Unreachable

from pool.registry.connect import LIMITS, lease_redis

BY_SENTINELS = ("redis+sentinel://127.0.0.1:1,127.0.0.1:2/calls", "rediss+sentinel://127.0.0.1:1/calls/0")


async def test_what_a_client_sends_comes_back_as_text(redis_url: str) -> None:
    """Names come back as they were; bytes of strangers and lone surrogates come back spelled, and raise nothing."""
    redis = lease_redis(redis_url)
    await redis.set("name", "r\u00e4ume\x00\u20ac")
    await redis.set("bytes", b"\xff\xfe")
    await redis.set("surrogate", "\ud800")

    assert await redis.mget("name", "bytes", "surrogate") == ["r\u00e4ume\x00\u20ac", "\\xff\\xfe", "\\ud800"]
    await redis.aclose()


@pytest.mark.parametrize(
    "url", ["unix:///nowhere/redis.sock", "redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0", *BY_SENTINELS]
)
async def test_every_kind_of_address_can_be_dialled(url: str) -> None:
    """A path, plain TCP and TLS, sentinels: nobody is there, and that is all that is wrong."""
    redis = lease_redis(url)
    with pytest.raises(Unreachable):
        await redis.ping()
    await redis.aclose()


def test_waits_are_bounded() -> None:
    """Connections, answers and their number have limits; TLS checks the name of the host."""
    plain = lease_redis("redis://localhost/0").connection_pool
    secure = lease_redis("rediss://localhost/0").connection_pool

    assert plain.max_connections == LIMITS.connections
    assert plain.connection_kwargs["socket_timeout"] == LIMITS.answer_s
    assert plain.connection_kwargs["socket_connect_timeout"] == LIMITS.connect_s
    assert secure.connection_kwargs["ssl_check_hostname"]


def test_a_word_is_no_address() -> None:
    """Whoever set it hears so at once."""
    with pytest.raises(ValueError, match="begins with none of"):
        lease_redis("localhost")
