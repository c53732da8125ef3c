"""The receiver as an ASGI application: its routes, and what lives as long as it does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from webhook import talk
from webhook.health import Health
from webhook.metrics import Metrics
from webhook.receive import DeliveryLimits, Pool, Receiver
from webhook.settings import WebhookSettings
from webhook.story_writer import StoryWriter

PATH = "/livekit/webhook"

STORY_LIMIT_S = 1.0
"""At the end, for what is still to be written into stories."""


def create_app(
    settings: WebhookSettings,
    pool: Pool,
    *,
    health: Health | None = None,
    limits: DeliveryLimits | None = None,
    registry: CollectorRegistry | None = None,
    page: talk.PageOptions | None = None,
) -> Starlette:
    """Assemble the receiver.

    Args:
        pool: Open for as long as the application runs; whoever opened it closes it.
        health: Told what the application finds out about itself.
        registry: Where its metrics go; one of its own when None.
        page: Serve the talk page too, and tokens with it: for the demo, on loopback, never else.
    """
    health = health or Health()
    metrics = Metrics(registry or CollectorRegistry())
    story_writer = StoryWriter(on_dropped=metrics.story_dropped)
    receiver = Receiver(
        keys=settings.keys(),
        rules=settings.rules(),
        prepares=settings.prepare == "room_started",
        pool=pool,
        metrics=metrics,
        limits=limits or DeliveryLimits(),
        story_writer=story_writer,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await health.look(pool)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(health.watch(pool), name="watch_pool")
            writing = group.create_task(story_writer.write_forever(pool), name="write_stories")
            yield
            await story_writer.written(limit_s=STORY_LIMIT_S)
            watching.cancel()
            writing.cancel()

    routes: list[BaseRoute] = [Route(PATH, receiver.receive, methods=["POST"])]
    app = Starlette(routes=routes + (talk.routes(page) if page else []), lifespan=lifespan)
    if page:  # not mounted: a mount would take a GET of PATH for a file that is not there, where it is a wrong method
        app.router.default = talk.files(page)
    # LiveKit takes a redirect for success and follows some of them with a GET: a wrong address must be a 404.
    app.router.redirect_slashes = False
    return app
