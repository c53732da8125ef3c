"""The parent's connection to Redis, as it comes and goes."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deploy.local.valkey import Valkey
from pool.reaper import Reaper

PATIENCE_S = 20


async def until(answer: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while not answer():
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.01)


async def test_a_redis_that_goes_and_comes_is_told_of_once_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However often it was asked in vain."""
    monkeypatch.setattr("pool.reaper.WARM_S", 0.02)
    valkey = Valkey(tmp_path, append_only=False)
    reaper = Reaper()
    reaper.learn(valkey.url)
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            warming = group.create_task(reaper.keep_warm())
            await until(lambda: [line["event"] for line in lines].count("reaper_not_warmed") > 2)
            async with valkey:
                await until(lambda: lines[-1]["event"] == "reaper_warm")
                warming.cancel()
    told = [(line["log_level"], line["event"]) for line in lines if line["log_level"] != "debug"]
    assert told == [("warning", "reaper_cold"), ("info", "reaper_warm")]
