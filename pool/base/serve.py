"""Serving an ASGI application on a port of this process, as a context manager that leaves nothing behind."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Generator, Iterator

import uvicorn
from starlette.types import ASGIApp

from pool.base.errors import SettingsInvalid
from pool.base.requests import RequestLimits

GRACE_S = 10.0
"""How long requests in flight may take to end once serving stops; then they are cancelled."""

IDLE_S = 75.0
"""How long an idle connection is kept for the next request: longer than the 60 s after which a usual proxy lets go
of its own, or it would now and then send a request into a connection we are just closing."""

BACKLOG = 128
"""Connections that wait to be taken. asyncio takes as many in one go, before a limit on connections can act; and when
it has no file descriptor for one, Python 3.11 logs a traceback for each of them, every second."""


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApp, *, host: str, port: int, name: str, grace_s: float = GRACE_S, limits: RequestLimits | None = None
) -> AsyncIterator[int]:
    """Serve `app` while the block runs, and yield the port it listens on.

    Args:
        host: An address, or a name that resolves to one.
        port: 0 means a free one.
        name: Of the task, for whoever lists them.
        grace_s: Seconds that requests in flight get when the block ends.
        limits: What connections may cost; None: those that fit this process.

    Raises:
        SettingsInvalid: the address cannot be had; whoever chose it is at fault.
        BaseExceptionGroup: the application's lifespan failed, or the server did.

    When the block ends, by whatever way, no new connection is taken, requests in flight are answered, the lifespan
    ends, and only then does an error or a cancellation of the block go on.
    """
    listener = _listen(host, port)
    server = _Server(
        uvicorn.Config(
            app,
            http=(limits or RequestLimits.of_process()).protocol(),
            backlog=BACKLOG,
            ws="none",
            lifespan="on",
            log_config=None,  # its lines go through our own set-up
            access_log=False,  # one line of ours a request, where it matters
            server_header=False,
            timeout_keep_alive=round(IDLE_S),
            timeout_graceful_shutdown=round(grace_s),
        )
    )
    ended: BaseException | None = None
    with contextlib.closing(listener):
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]), name=f"serve_{name}")
            await server.up.wait()
            try:
                yield listener.getsockname()[1]
            except BaseException as error:  # noqa: BLE001 - kept only until the server has ended, then raised as it was
                ended = error
            server.stop()
    if ended is not None:
        raise ended


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM or SIGINT sets, in place of ending the process. The first one is enough.

    A second SIGINT is a KeyboardInterrupt again, for whoever does not want to wait.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def heard() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, heard)
    try:
        yield stop
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which belong to the process, and without its exit on a failed start."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End serving, now; uvicorn alone would notice within a tenth of a second."""
        self.should_exit = True
        self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets=sockets)
        except SystemExit as error:
            raise RuntimeError("the application did not start") from error
        self.up.set()

    async def main_loop(self) -> None:
        # Once a second the Date header wants a new value; uvicorn itself wakes ten times as often.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsInvalid(
            [f"cannot listen on {host}:{port}: {error.strerror}. Cure: another port or host."]
        ) from error
