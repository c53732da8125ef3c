"""Settings of a worker: those of a call, and how many calls, which rooms, how long. Declared once, read at start."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from bridge import BridgeSettings

REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})


class PoolSettings(BridgeSettings):
    """What `roompool worker` reads."""

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        alias="REDIS_URL",
        description="the Redis that the receiver and all workers share, beginning with redis://, rediss:// or unix://",
        examples=["redis://:password@redis:6379/0"],
    )
    rooms: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("*",),
        alias="ROOMPOOL_ROOMS",
        min_length=1,
        description="which rooms get an agent: shell patterns, comma-separated; the same in the receiver",
        examples=["call-*,support-*"],
    )
    capacity: int = Field(
        default=8, alias="ROOMPOOL_CAPACITY", ge=1, le=200, description="the most calls a worker carries at one time"
    )
    grace_s: float = Field(
        default=3600.0,
        alias="ROOMPOOL_GRACE_S",
        ge=0,
        le=86_400,
        description="seconds that calls may go on after SIGTERM; the orchestrator must wait 30 s longer",
    )
    hold_s: float = Field(
        default=120.0,
        alias="ROOMPOOL_HOLD_S",
        ge=0,
        le=3_600,
        description="seconds that a call goes on while Redis is unreachable, counted from the last renewal",
    )
    revision: str = Field(
        default="",
        alias="ROOMPOOL_REVISION",
        max_length=128,
        description="what `roompool ps` shows as this worker's release, for instance the image's tag",
    )

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if urlsplit(value).scheme not in REDIS_SCHEMES:
            raise ValueError("is no Redis address")
        return value

    @field_validator("rooms", mode="before")
    @classmethod
    def _patterns(cls, value: object) -> object:
        return cls._split(value)
