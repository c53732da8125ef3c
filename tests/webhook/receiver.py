"""A receiver on a real port, and a pool that keeps what is submitted, for tests of what the receiver answers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import httpcore2  # noqa: F401 - httpx2 would load it inside the loop, where reading its files counts as blocking
import httpx2
from prometheus_client import CollectorRegistry

from pool.base.serve import serve
from pool.contract import Heard, Note
from tests.webhook.deliveries import KEY, SECRET, token_of
from webhook.app import PATH, create_app
from webhook.receive import DeliveryLimits, Pool
from webhook.settings import WebhookSettings
from webhook.talk import PageOptions

LIMITS = DeliveryLimits(max_body_bytes=200_000, read_s=2.0)


class Ledger:
    """A pool without Redis: it keeps every note in order, or fails as it is told to."""

    def __init__(self, *, failure: Exception | None = None) -> None:
        self.notes: list[Note] = []
        self.coming: asyncio.Queue[Note] = asyncio.Queue(maxsize=1000)
        self.told: asyncio.Queue[Heard] = asyncio.Queue(maxsize=10_000)
        self.tells = asyncio.Event()
        """Cleared, it takes for ever to write a line of a story."""
        self.tells.set()
        self._failure = failure

    async def submit(self, note: Note) -> None:
        if self._failure is not None:
            raise self._failure
        self.notes.append(note)
        self.coming.put_nowait(note)

    async def tell(self, heard: Sequence[Heard]) -> bool:
        await self.tells.wait()
        for one in heard:
            self.told.put_nowait(one)
        return self._failure is None

    async def ping(self) -> None:
        if self._failure is not None:
            raise self._failure


@dataclass
class Receiving:
    """One receiver that listens."""

    port: int
    client: httpx2.AsyncClient
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    async def post(self, body: bytes, **headers: str) -> httpx2.Response:
        """POST a body as LiveKit does, signed now, with changes to its headers."""
        signed = {"authorization": token_of(body, now_s=time.time()), "content-type": "application/webhook+json"}
        return await self.client.post(PATH, content=body, headers={**signed, **headers})

    async def raw(self, request: bytes, *, within_s: float = 5.0) -> bytes:
        """Send bytes over a connection of their own and return what comes back until it is closed or still."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            async with asyncio.timeout(within_s):
                return await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def counted(self, *, event: str, outcome: str) -> float:
        """How many deliveries of this kind the metrics hold."""
        labels = {"event": event, "outcome": outcome}
        return self.registry.get_sample_value("roompool_webhook_deliveries_total", labels) or 0.0


def settings(**changes: object) -> WebhookSettings:
    return WebhookSettings(livekit_api_key=KEY, livekit_api_secret=SECRET, **changes)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def receiving(
    pool: Pool, *, limits: DeliveryLimits = LIMITS, page: PageOptions | None = None, **changes: object
) -> AsyncIterator[Receiving]:
    """A receiver in front of `pool`, with settings as in the README apart from `changes`."""
    registry = CollectorRegistry()
    app = create_app(settings(**changes), pool, limits=limits, registry=registry, page=page)
    async with (
        serve(app, host="127.0.0.1", port=0, name="webhook") as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False) as client,
    ):
        yield Receiving(port, client, registry)


def request_head(*headers: str, method: str = "POST", path: str = PATH) -> bytes:
    """The head of a request, byte for byte."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *headers, "", ""]).encode()
