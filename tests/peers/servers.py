"""The real servers: one Valkey and one livekit-server for the whole run, each started when the first test asks.

They are synchronous on purpose: they outlive the event loop of any one test.
"""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.livekit_binary import find_or_build
from deploy.local.livekit_server import LiveKitServer
from deploy.local.valkey import Valkey


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The Valkey of this run. A test that kills or freezes one starts its own: `valkey`."""
    with Valkey(tmp_path_factory.mktemp("valkey"), append_only=False) as server:
        yield server


@pytest.fixture
def redis_url(valkey_server: Valkey) -> str:
    """The URL of an empty Valkey, shared by nobody while this test runs."""
    assert valkey_server.command("FLUSHALL") == "+OK"
    return valkey_server.url


@pytest.fixture
def redis_prefix() -> str:
    """A key prefix that no other test has."""
    return f"test-{secrets.token_hex(4)}:"


@pytest.fixture
async def valkey() -> AsyncIterator[Valkey]:
    """A Valkey of the test's own, with its data on disk: to be killed, frozen, restarted with or without it."""
    async with Valkey() as server:
        yield server


@pytest.fixture(scope="session")
def livekit_binary() -> Path:
    """The livekit-server program, built where there is none."""
    return find_or_build()


@pytest.fixture(scope="session")
def livekit(tmp_path_factory: pytest.TempPathFactory, livekit_binary: Path) -> Iterator[LiveKitServer]:
    """The livekit-server of this run. It sends no webhooks; for those see `stack_factory`."""
    with LiveKitServer(tmp_path_factory.mktemp("livekit"), binary=livekit_binary) as server:
        yield server
