"""The receiver as a user runs it: a process of its own, a real Valkey, signals."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
from redis.asyncio import Redis

from deploy.local.valkey import Valkey
from pool.contract import DEFAULT_PREFIX
from tests.peers.unfit_redis import EvictingValkey
from tests.webhook.deliveries import KEY, SECRET, TURN_PASSWORD, body_of, message, token_of

ROOT = Path(__file__).parents[2]
PORTS = ("--port", "0", "--ops-port", "0")


@contextlib.asynccontextmanager
async def webhook(*options: str, **variables: str) -> AsyncIterator[Process]:
    """`python -m webhook` with nothing set but `variables`; killed at the end if it still runs."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    command = (sys.executable, "-m", "webhook", *options)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: Process, event: str) -> dict[str, Any]:
    """Wait for the next line of this event."""
    assert process.stderr is not None
    async with asyncio.timeout(20):
        async for raw in process.stderr:
            said: dict[str, Any] = json.loads(raw)
            if said["event"] == event:
                return said
    raise AssertionError(f"ended without {event}")


async def post(url: str, body: bytes) -> int:
    async with httpx2.AsyncClient(verify=False) as client:
        headers = {"authorization": token_of(body, now_s=time.time())}
        return (await client.post(url, content=body, headers=headers)).status_code


async def get(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(verify=False) as client:
        return await client.get(url)


async def test_a_join_reaches_room_state_and_sigterm_ends_it_well(redis_url: str) -> None:
    """Ready, accepted and noted in Redis, probed and counted; then exit 0. No line holds a secret or a number."""
    settings = {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, "REDIS_URL": redis_url}
    room = "sip-4915112345678"
    async with webhook(*PORTS, **settings) as process:
        ready = await line(process, "webhook_ready")
        assert await post(ready["url"], body_of(message("participant_joined", room={"name": room}))) == 200
        async with Redis.from_url(redis_url) as redis:
            assert [key async for key in redis.scan_iter(match=f"{DEFAULT_PREFIX}*")]
        assert (await get(f"{ready['ops_url']}/readyz")).json() == {"ok": True, "reason": "ready"}
        counted = 'roompool_webhook_deliveries_total{event="participant_joined",outcome="accepted"} 1.0'
        assert counted in (await get(f"{ready['ops_url']}/metrics")).text
        process.send_signal(signal.SIGTERM)
        out, rest = await asyncio.wait_for(process.communicate(), 5)
        assert (process.returncode, out) == (0, b"")
    said = [json.loads(each) for each in rest.splitlines()]
    assert [each["event"] for each in said] == ["delivery", "readiness_changed", "webhook_stopped"]
    assert (said[0]["room"], said[1]["now"]) == ("sip-…78", "draining")
    assert not [secret for secret in (TURN_PASSWORD, SECRET, room) if secret in rest.decode()]


async def test_a_receiver_starts_without_redis_and_asks_for_repeats() -> None:
    """It is not ready, and answers 503."""
    settings = {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, "REDIS_URL": "redis://:hush@127.0.0.1:1/0"}
    async with webhook(*PORTS, **settings) as process:
        ready = await line(process, "webhook_ready")
        assert await post(ready["url"], body_of(message("participant_joined"))) == 503
        probe = await get(f"{ready['ops_url']}/readyz")
        assert (probe.status_code, probe.json()["reason"]) == (503, "pool_unreachable")
        process.send_signal(signal.SIGINT)
        _, rest = await asyncio.wait_for(process.communicate(), 5)
        assert process.returncode == 0
    assert b"hush" not in rest


async def test_a_redis_that_answers_with_errors_is_waited_out(valkey: Valkey) -> None:
    """A replica that lost its primary refuses even a ping: not ready and 503, and ready again once it is well."""
    settings = {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, "REDIS_URL": valkey.url}
    async with webhook(*PORTS, **settings) as process:
        ready = await line(process, "webhook_ready")
        assert valkey.command("CONFIG", "SET", "replica-serve-stale-data", "no") == "+OK"
        assert valkey.command("REPLICAOF", "127.0.0.1", "1") == "+OK"
        assert (await line(process, "readiness_changed"))["now"] == "pool_unreachable"
        assert await post(ready["url"], body_of(message("participant_joined"))) == 503
        assert (await line(process, "delivery"))["reason"] == "MASTERDOWN"
        assert valkey.command("REPLICAOF", "NO", "ONE") == "+OK"
        assert (await line(process, "readiness_changed"))["now"] == "ready"
        assert (await get(f"{ready['ops_url']}/readyz")).status_code == 200


async def test_a_redis_that_would_forget_is_refused_and_exit_2(valkey: Valkey) -> None:
    """One line, with the variable, what is wrong, and the cure; its password is not in it."""
    assert valkey.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == "+OK"
    settings = {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, "REDIS_URL": valkey.url}
    async with webhook(*PORTS, **settings) as process:
        _, said = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, said.count(b"\n")) == (2, 1)
    assert said.startswith(b"REDIS_URL: has maxmemory-policy allkeys-lru")
    assert b" Cure: CONFIG SET maxmemory-policy noeviction" in said


async def test_a_redis_that_comes_later_and_would_forget_keeps_the_receiver_unready() -> None:
    """With the same words in an error line and in the probe; mended, it is taken without a restart."""
    async with contextlib.AsyncExitStack() as ending:
        valkey = await ending.enter_async_context(EvictingValkey(append_only=False))
        valkey.kill()
        settings = {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, "REDIS_URL": valkey.url}
        process = await ending.enter_async_context(webhook(*PORTS, **settings))
        ready = await line(process, "webhook_ready")
        await valkey.revive(keep_data=False)
        problem = (await line(process, "redis_unfit"))["problem"]
        assert problem.startswith("REDIS_URL: has maxmemory-policy allkeys-lru")
        assert (await line(process, "readiness_changed"))["now"] == "pool_unfit"
        probe = await get(f"{ready['ops_url']}/readyz")
        assert (probe.status_code, probe.json()["reason"]) == (503, problem)
        assert valkey.command("CONFIG", "SET", "maxmemory-policy", "noeviction") == "+OK"
        assert (await line(process, "readiness_changed"))["now"] == "ready"


async def test_wrong_settings_are_all_told_and_exit_2() -> None:
    """Each with its variable and the cure, and no stack trace."""
    async with webhook(*PORTS, REDIS_URL="http://127.0.0.1", ROOMPOOL_WEBHOOK_KEYS="hush") as process:
        _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    told = [each.partition(":")[0] for each in said.decode().splitlines()]
    assert sorted(told) == ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "REDIS_URL", "ROOMPOOL_WEBHOOK_KEYS"]
    assert b"Traceback" not in said
    assert b"hush" not in said


async def test_the_talk_page_is_refused_where_others_could_reach_it() -> None:
    """It gives tokens to anybody who asks."""
    settings = {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    settings |= {"ROOMPOOL_TALK_PAGE": "1", "LIVEKIT_URL": "ws://127.0.0.1:7880"}
    async with webhook("--host", "0.0.0.0", *PORTS, **settings) as process:
        _, said = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, said.count(b"\n")) == (2, 1)
    assert said.startswith(b"ROOMPOOL_TALK_PAGE: ")


async def test_a_taken_port_is_one_line_and_exit_2() -> None:
    """With the address in it."""
    settings = {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, "REDIS_URL": "redis://127.0.0.1:1/0"}
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = str(server.sockets[0].getsockname()[1])
        async with webhook("--port", port, "--ops-port", "0", **settings) as process:
            _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: ".encode() in said
    assert b"Traceback" not in said
