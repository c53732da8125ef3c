"""The port of its own on which a process tells how it is: `/livez`, `/readyz`, `/metrics`."""

import contextlib
from collections.abc import AsyncIterator, Callable

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pool.base.requests import RequestLimits
from pool.base.serve import serve

MOST_CONNECTIONS = 64
"""Probes and a scraper or two; the file descriptors are for others."""

Check = Callable[[], tuple[bool, str]]
"""Whether all is well, and the reason in a few words. It answers from memory: a probe must not wait for Redis."""


def create_ops_app(*, live: Check, ready: Check, registry: CollectorRegistry = REGISTRY) -> Starlette:
    """Answer probes with 200 or 503 and the reason as JSON, and metrics in Prometheus' text format."""

    async def livez(_request: Request) -> Response:
        return _answer(live)

    async def readyz(_request: Request) -> Response:
        return _answer(ready)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


@contextlib.asynccontextmanager
async def serve_ops(
    *, live: Check, ready: Check, host: str = "127.0.0.1", port: int = 0, registry: CollectorRegistry = REGISTRY
) -> AsyncIterator[int]:
    """Serve the three while the block runs, and yield the port. Errors are those of `serve`."""
    app = create_ops_app(live=live, ready=ready, registry=registry)
    limits = RequestLimits.of_process(most=MOST_CONNECTIONS)
    async with serve(app, host=host, port=port, name="ops", grace_s=1.0, limits=limits) as bound_port:
        yield bound_port


def always_live() -> tuple[bool, str]:
    """Liveness of a process that is well as long as it answers."""
    return True, "answering"


def _answer(check: Check) -> Response:
    is_well, reason = check()
    return JSONResponse({"ok": is_well, "reason": reason}, status_code=200 if is_well else 503)
