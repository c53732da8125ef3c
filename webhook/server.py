"""One receiver process, from its settings to its end."""

import contextlib
from collections.abc import AsyncIterator

import structlog
from prometheus_client import REGISTRY

from pool.base.errors import SettingsInvalid
from pool.base.ops import always_live, serve_ops
from pool.base.serve import serve, stop_signals
from pool.client import PoolClient
from webhook.app import PATH, create_app
from webhook.health import Health
from webhook.settings import RECOMMENDED_SECRET_BYTES, WebhookSettings
from webhook.talk import LOOPBACK_NAMES, PageOptions

log = structlog.get_logger()


async def run(settings: WebhookSettings, *, host: str, port: int, ops_host: str, ops_port: int) -> None:
    """Receive deliveries until SIGTERM or SIGINT.

    Then: not ready any more, no new connections, requests in flight answered, Redis let go.

    Raises:
        SettingsInvalid: an address cannot be had, the talk page is asked for where others could reach it, or Redis
            answers and is none that roompool can use.
    """
    page = _page(settings, host)
    if len(settings.livekit_api_secret) < RECOMMENDED_SECRET_BYTES:
        log.warning("secret_short", variable="LIVEKIT_API_SECRET", recommended_bytes=RECOMMENDED_SECRET_BYTES)
    health = Health()
    with stop_signals() as stop:
        async with (
            _fit_pool(settings) as pool,
            serve_ops(live=always_live, ready=health.ready, host=ops_host, port=ops_port) as bound_ops_port,
            serve(
                create_app(settings, pool, health=health, registry=REGISTRY, page=page),
                host=host,
                port=port,
                name="webhook",
            ) as bound_port,
        ):
            log.info("webhook_ready", url=_url(host, bound_port) + PATH, ops_url=_url(ops_host, bound_ops_port))
            if page:
                log.warning("talk_page_open", url=_url(host, bound_port), gives="a caller's token to anybody who asks")
            await stop.wait()
            health.drain()
    log.info("webhook_stopped")


@contextlib.asynccontextmanager
async def _fit_pool(settings: WebhookSettings) -> AsyncIterator[PoolClient]:
    async with PoolClient.open(settings.redis_url.get_secret_value()) as pool:
        await pool.require_fit()
        yield pool


def _page(settings: WebhookSettings, host: str) -> PageOptions | None:
    if not settings.talk_page or settings.livekit_url is None:
        return None
    if host not in LOOPBACK_NAMES:
        raise SettingsInvalid(["ROOMPOOL_TALK_PAGE: gives tokens to anybody who asks. Cure: --host 127.0.0.1."])
    secret = settings.livekit_api_secret.get_secret_value()
    return PageOptions(
        livekit_url=settings.livekit_url,
        api_key=settings.livekit_api_key,
        api_secret=secret,
        simulated=settings.talk_page_simulated,
    )


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
