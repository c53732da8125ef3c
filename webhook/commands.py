"""The verb `roompool webhook`."""

from typing import Annotated

import typer


def webhook(
    host: Annotated[str, typer.Option(help="Address to receive LiveKit's deliveries on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 is a free one.")] = 8080,
    ops_host: Annotated[str, typer.Option(help="Address of /livez, /readyz and /metrics.")] = "127.0.0.1",
    ops_port: Annotated[int, typer.Option(min=0, max=65535, help="Their port; 0 is a free one.")] = 0,
) -> None:
    """Receive LiveKit's webhooks and note in Redis who wants an agent.

    Example: roompool webhook --host 0.0.0.0 --port 8080
    """
    # The verb is also loaded for a mere --help, which needs neither a server nor pydantic.
    import asyncio

    from pool.base.settings import load
    from webhook.server import run
    from webhook.settings import WebhookSettings

    asyncio.run(run(load(WebhookSettings), host=host, port=port, ops_host=ops_host, ops_port=ops_port))
