"""The deployments that faults are injected into. Each is all of roompool, started as a user starts it."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit, urlunsplit

from bridge.simulator.texts import LINES
from deploy.local.chaos.fault import Environment
from deploy.local.chaos.faults.poison import POISON_ROOMS
from deploy.local.chaos.partition import isolated_network
from deploy.local.chaos.site import IsolatedWorker, Site, SiteFailed
from deploy.local.chaos.tcp_proxy import TcpProxy
from deploy.local.chaos.webhook_proxy import WebhookProxy
from deploy.local.processes import NeverSaid, ProcessEnded
from deploy.local.sentinel import SentinelSet
from deploy.local.stack import Stack, StackFailed, StackOptions
from deploy.local.valkey import ExternalRedis

WORKERS = 2
PROCESSES = 2
"""Carriers of each worker: enough for a call to find another one in the same worker, and in another."""

READY_S = 90.0

SIMULATOR_ARGS = ("--endpoint-ms", "600", "--onset-ms", "300", "--barge-in-ms", "400", "--lead-silence-ms", "200")
"""A voice that is quicker than the service it stands for: what is measured is the time until there is one again."""

WORKER_ENV = {
    "ROOMPOOL_HANDOVER_AFTER_S": "0",  # a drain hands over at once: the wait before it would prove nothing
    "ROOMPOOL_GREETING": LINES["long"],  # of a quarter of a minute: whatever strikes, it strikes in mid-sentence
}


DOWN_AFTER_MS = 2000
"""Sentinels take a replica that was cut off for ten times this for too old: a trial's callers come within that."""

POISON_ENV = {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent / "poison"), os.environ.get("PYTHONPATH")])),
    "POISON_ROOMS": POISON_ROOMS,
}


@contextlib.asynccontextmanager
async def bring_up(
    environment: Environment, run_dir: Path, *, binary: Path | None = None, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    """Bring an environment up, and end it with the block. `settings` are further variables of receiver and workers.

    Raises:
        CannotInject: This machine cannot offer it.
        StackFailed: A part did not come up.
    """
    options = StackOptions(
        run_dir=run_dir,
        workers=0,
        binary=binary,
        processes=PROCESSES,
        webhook_env=settings or {},
        worker_env={**WORKER_ENV, **(settings or {})},
        simulator_args=SIMULATOR_ARGS,
        ready_within_s=READY_S,
    )
    match environment:
        case Environment.PLAIN:
            standing = _plain(options)
        case Environment.NETWORK:
            standing = _network(options)
        case Environment.SENTINEL:
            standing = _sentinel(options)
        case Environment.POISON:
            standing = _plain(replace(options, worker_env={**options.worker_env, **POISON_ENV}))
        case _:
            assert_never(environment)
    async with standing as site:
        try:
            await site.fill_up()
        except (ProcessEnded, NeverSaid, SiteFailed) as error:
            raise StackFailed(str(error)) from error
        yield site


@contextlib.asynccontextmanager
async def _plain(options: StackOptions) -> AsyncIterator[Site]:
    async with WebhookProxy.open() as proxy, Stack.start(replace(options, webhook_route=proxy.route)) as stack:
        yield Site(stack, proxy, WORKERS)


@contextlib.asynccontextmanager
async def _network(options: StackOptions) -> AsyncIterator[Site]:
    """LiveKit on an address that one worker can be cut off from; Redis and the voice on another, behind proxies."""
    with isolated_network() as network:
        async with _plain(replace(options, livekit_host=network.host)) as site, contextlib.AsyncExitStack() as proxies:
            redis_url, voice_url = site.stack.redis.url, site.stack.env["ROOMPOOL_VOICE_URL"]
            redis = await proxies.enter_async_context(_proxy_to(redis_url, network.far))
            voice = await proxies.enter_async_context(_proxy_to(voice_url, network.far))
            env = {
                "REDIS_URL": _through(redis_url, network.far, redis.port),
                "ROOMPOOL_VOICE_URL": _through(voice_url, network.far, voice.port),
            }
            site.isolated = IsolatedWorker(network, redis, env)
            yield site


@contextlib.asynccontextmanager
async def _sentinel(options: StackOptions) -> AsyncIterator[Site]:
    assert options.run_dir is not None
    sentinels = SentinelSet(options.run_dir / "sentinels", down_after_ms=DOWN_AFTER_MS)
    async with sentinels, _plain(replace(options, redis=ExternalRedis(sentinels.url))) as site:
        site.sentinels = sentinels
        yield site


def _proxy_to(url: str, listen_on: str) -> contextlib.AbstractAsyncContextManager[TcpProxy]:
    parts = urlsplit(url)
    return TcpProxy.to(parts.hostname or "", parts.port or 0, listen_on=listen_on)


def _through(url: str, host: str, port: int) -> str:
    """The same URL by way of another host and port."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{host}:{port}"))
