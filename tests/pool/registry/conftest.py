"""Room state in a real Valkey for each test."""

from collections.abc import AsyncIterator

import pytest

from pool.registry.connect import lease_redis
from tests.pool.registry.world import World


@pytest.fixture
async def world(redis_url: str, redis_prefix: str) -> AsyncIterator[World]:
    """A Redis that has been in use for a while, and has nobody in any room."""
    redis = lease_redis(redis_url)
    try:
        world = World(redis, redis_prefix, url=redis_url)
        await world.settle()
        yield world
    finally:
        await redis.aclose()
