"""Settings of a worker: those of a call, and how many calls, which rooms, how long. Declared once, read at start."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr

from bridge import BridgeSettings
from pool.base.kinds import Patterns, RedisUrl


def _never(value: Any) -> Any:
    return math.inf if isinstance(value, str) and value.strip().lower() == "never" else value


HandOverAfter = Annotated[float, BeforeValidator(_never)]
"""Seconds, infinite for the word "never"."""


class PoolSettings(BridgeSettings):
    """What `roompool worker` reads."""

    redis_url: RedisUrl = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        alias="REDIS_URL",
        description="the address of the Redis that the receiver and all workers share",
        examples=["redis://:password@127.0.0.1:6379/0"],
    )
    rooms: Patterns = Field(
        default=("*",),
        alias="ROOMPOOL_ROOMS",
        min_length=1,
        description="shell patterns of the rooms that get an agent, the same as in the receiver",
        examples=["call-*,support-*"],
    )
    capacity: int = Field(
        default=8,
        alias="ROOMPOOL_CAPACITY",
        ge=1,
        le=200,
        description="the most calls a carrier, a process of the worker, carries at one time",
    )
    joins_at_once: int = Field(
        default=3,
        alias="ROOMPOOL_JOINS_AT_ONCE",
        ge=0,
        le=200,
        description="the rooms that a carrier joins at one time, those that wait longest first; 0 for any number",
    )
    grace_s: float = Field(
        default=3600.0,
        alias="ROOMPOOL_GRACE_S",
        ge=0,
        le=86_400,
        description="the seconds that calls may go on after SIGTERM; the orchestrator must wait 30 s longer",
    )
    handover_after_s: HandOverAfter = Field(
        default=30.0,
        alias="ROOMPOOL_HANDOVER_AFTER_S",
        ge=0,
        description="the seconds that calls may go on after SIGTERM before other workers take them over, at the "
        'latest 15 s before the grace ends; 0: none, "never": they end by themselves',
    )
    remember: bool = Field(
        default=True,
        alias="ROOMPOOL_REMEMBER",
        description="1, or 0 to keep nothing of what was said in Redis; then nobody can take a call over",
    )
    hold_s: float = Field(
        default=120.0,
        alias="ROOMPOOL_HOLD_S",
        ge=0,
        le=3_600,
        description="the seconds that a call goes on while Redis is unreachable, counted from the last renewal",
    )
    recycle_calls: int = Field(
        default=1000,  # a busy day: native code has no longer than that to leak, and a fresh start costs a second
        alias="ROOMPOOL_RECYCLE_CALLS",
        ge=0,
        description="the calls after which an idle carrier is replaced by a fresh process; 0 for never",
    )
    recycle_rss_mb: int = Field(
        default=512,
        alias="ROOMPOOL_RECYCLE_RSS_MB",
        ge=0,
        description="the resident megabytes above which an idle carrier is replaced by a fresh process; 0 for never",
    )
    uvloop: bool = Field(
        default=True,
        alias="ROOMPOOL_UVLOOP",
        description="1 for the faster event loop, where there is one (not on Windows); 0 for Python's own",
    )
    revision: str = Field(
        default="",
        alias="ROOMPOOL_REVISION",
        max_length=128,
        description="the release that `roompool ps` shows for this worker, for instance the image's tag; calls are "
        "handed to the newest first",
    )
