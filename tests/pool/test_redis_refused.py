"""A worker as a user runs it, and a Redis that it cannot use."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from deploy.local.ports import free_port
from deploy.local.sentinel import SentinelSet
from deploy.local.valkey import Valkey
from tests.peers.unfit_redis import ClusterValkey, EvictingValkey

SETTINGS = {
    "LIVEKIT_URL": "ws://127.0.0.1:1",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "s" * 32,
    "ASSEMBLYAI_API_KEY": "word",
}

WITHIN_S = 40


@contextlib.asynccontextmanager
async def worker(redis_url: str, *options: str) -> AsyncIterator[Process]:
    """`roompool worker` with one carrier; ended in order at the end if it still runs."""
    variables = {"PATH": os.environ["PATH"], "REDIS_URL": redis_url, **SETTINGS}
    command = (sys.executable, "-m", "pool.commands", "worker", "--processes", "1", *options)
    process = await asyncio.create_subprocess_exec(*command, env=variables, stdout=DEVNULL, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(WITHIN_S):
                await process.communicate()


async def line(process: Process, event: str) -> dict[str, Any]:
    """Wait for the next line of this event."""
    assert process.stderr is not None
    async with asyncio.timeout(WITHIN_S):
        async for raw in process.stderr:
            said: dict[str, Any] = json.loads(raw)
            if said["event"] == event:
                return said
    raise AssertionError(f"ended without {event}")


@pytest.mark.parametrize(
    ("kind", "words"),
    [(EvictingValkey, b"maxmemory-policy allkeys-lru"), (ClusterValkey, b"is a Redis Cluster")],
)
async def test_one_that_answers_at_start_is_refused_with_one_line(kind: type[Valkey], words: bytes) -> None:
    """Exit 2, the variable in front, the cure behind; nothing of the URL."""
    async with kind(append_only=False) as server, worker(server.url) as process:
        async with asyncio.timeout(WITHIN_S):
            _, said = await process.communicate()
    lines = [each for each in said.splitlines() if not each.startswith(b"{")]
    assert (process.returncode, len(lines)) == (2, 1), said.decode()
    assert lines[0].startswith(b"REDIS_URL: ")
    assert words in lines[0]
    assert b" Cure: " in lines[0]
    assert server.url.encode() not in said


async def test_one_that_comes_later_keeps_the_worker_unready_until_it_is_mended() -> None:
    """The same words in an error line and in `/readyz`, and no carrier beats: it would be given rooms."""
    port = free_port()
    async with EvictingValkey(append_only=False) as server:
        server.kill()
        async with worker(server.url, "--ops-port", str(port)) as process:
            await line(process, "redis_awaited")
            await server.revive(keep_data=False)
            problem = (await line(process, "redis_unfit"))["problem"]
            assert problem.startswith("REDIS_URL: has maxmemory-policy allkeys-lru")
            await until_readyz(port, 503, problem)
            assert server.command("EXISTS", "roompool:carriers") == ":0"
            assert server.command("CONFIG", "SET", "maxmemory-policy", "noeviction") == "+OK"
            await line(process, "redis_found")
            await until_readyz(port, 200, "")


@pytest.mark.redis_server
async def test_a_worker_reaches_its_redis_by_sentinels(standing_sentinels: SentinelSet) -> None:
    """And is ready."""
    port = free_port()
    async with worker(standing_sentinels.url, "--ops-port", str(port)):
        await until_readyz(port, 200, "")


async def until_readyz(port: int, status: int, reason: str) -> None:
    """Wait until the probe answers so, with these words somewhere in its reason."""
    async with asyncio.timeout(WITHIN_S), httpx2.AsyncClient(verify=False) as client:
        while True:
            with contextlib.suppress(httpx2.TransportError):
                answer = await client.get(f"http://127.0.0.1:{port}/readyz")
                if answer.status_code == status and reason in answer.json()["reason"]:
                    return
            await asyncio.sleep(0.1)
