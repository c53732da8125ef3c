"""Receiver and workers read some of the same variables: what one takes, the other takes too."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from bridge import LiveKitSettings
from pool.base.errors import SettingsInvalid
from pool.base.settings import load
from pool.settings import PoolSettings
from webhook.settings import WebhookSettings

GOOD = {
    "LIVEKIT_URL": "ws://127.0.0.1:7880",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "s" * 32,
    "ASSEMBLYAI_API_KEY": "word",
}

READERS: dict[str, tuple[type[BaseSettings], ...]] = {
    "ROOMPOOL_AGENT_IDENTITY": (WebhookSettings, PoolSettings),
    "ROOMPOOL_ROOMS": (WebhookSettings, PoolSettings),
    "REDIS_URL": (WebhookSettings, PoolSettings),
    "LIVEKIT_URL": (WebhookSettings, PoolSettings, LiveKitSettings),
}


def problems(cls: type[BaseSettings]) -> list[str]:
    """The variables that a class refuses."""
    try:
        load(cls)
    except SettingsInvalid as error:
        return [problem.partition(":")[0] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("variable", "text", "is_taken"),
    [
        ("ROOMPOOL_AGENT_IDENTITY", "a", True),
        ("ROOMPOOL_AGENT_IDENTITY", "a" * 128, True),
        ("ROOMPOOL_AGENT_IDENTITY", "a" * 129, False),
        ("ROOMPOOL_ROOMS", "a-*,[b]", True),
        ("ROOMPOOL_ROOMS", " , ", False),
        ("REDIS_URL", "rediss://:word@redis.example.org:6380/1", True),
        ("REDIS_URL", "unix:///run/redis.sock", True),
        ("REDIS_URL", "redis+sentinel://:word@a:26379,b/calls/1?sentinel_password=word", True),
        ("REDIS_URL", "redis+sentinel://a:26379,b", False),
        ("REDIS_URL", "http://redis.example.org", False),
        ("LIVEKIT_URL", "wss://livekit.example.org", True),
        ("LIVEKIT_URL", "https://livekit.example.org", False),
        ("LIVEKIT_URL", "ws://", False),
        ("LIVEKIT_URL", "livekit.example.org", False),
    ],
)
def test_every_reader_of_a_variable_takes_and_refuses_alike(
    variable: str, text: str, is_taken: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else a deployment would start in halves."""
    monkeypatch.chdir(tmp_path)  # away from anybody's .env
    for name in READERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**GOOD, variable: text}.items():
        monkeypatch.setenv(name, value)

    told = {cls.__name__: problems(cls) for cls in READERS[variable]}

    assert told == {cls.__name__: [] if is_taken else [variable] for cls in READERS[variable]}
