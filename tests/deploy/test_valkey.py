"""The launcher of Valkey: what a test or the demo may rely on."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import TimeoutError as RedisTimeout

from deploy.local.valkey import Valkey
from tests.peers.pids import is_alive


def _client(url: str, *, socket_timeout: float | None = None) -> Redis:
    client: Redis = Redis.from_url(url, socket_timeout=socket_timeout)
    return client


async def test_it_serves_on_loopback_with_a_password(valkey: Valkey) -> None:
    """A client with the URL is let in, one without the password is not."""
    async with _client(valkey.url) as client:
        assert await client.ping()
        assert await client.config_get("bind") == {"bind": "127.0.0.1"}
    async with _client(f"redis://127.0.0.1:{valkey.port}") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.ping()


@pytest.mark.parametrize("keep_data", [True, False])
async def test_a_restart_keeps_the_address_and_its_data_only_when_asked(valkey: Valkey, *, keep_data: bool) -> None:
    """The URL is the same after a crash; a key written before it is there exactly if `keep_data`."""
    url = valkey.url
    assert valkey.command("SET", "key", "value") == "+OK"
    await valkey.restart(keep_data=keep_data)
    assert valkey.url == url
    assert valkey.command("EXISTS", "key") == f":{int(keep_data)}"


async def test_a_frozen_one_accepts_and_says_nothing_until_it_is_thawed(valkey: Valkey) -> None:
    """Frozen, its port still takes connections and nothing answers; thawed, it goes on."""
    valkey.freeze()
    async with _client(valkey.url, socket_timeout=0.2) as client:
        with pytest.raises(RedisTimeout):
            await client.ping()
    valkey.thaw()
    assert valkey.command("PING") == "+PONG"


async def test_the_end_leaves_neither_a_process_nor_a_folder() -> None:
    """After the block the server is gone, frozen or not, and so is the folder it made."""
    async with Valkey() as server:
        pid, folder = server.pid, server.run_dir
        server.freeze()
    assert not is_alive(pid)
    assert not folder.exists()


async def test_a_taken_port_is_left_to_its_owner(valkey: Valkey) -> None:
    """A server whose port somebody took since it was picked starts on another one."""
    late = Valkey()
    late.port = valkey.port
    async with late:
        assert late.port != valkey.port
        assert late.command("PING") == "+PONG"
