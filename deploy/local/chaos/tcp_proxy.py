"""A TCP proxy of our own: passes bytes on until it is told to hold them. Both ends stay connected and hear nothing.

That is what a network shows which has broken in the middle: no reset, no end, only silence; new connections are taken
by nobody who would answer.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

CHUNK_BYTES = 1 << 16


class TcpProxy:
    """Listens on an address of this machine and connects to another one.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.port = 0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, host: str, port: int, *, listen_on: str = "127.0.0.1") -> AsyncIterator[Self]:
        """Serve while the block runs."""
        proxy = cls((host, port))
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = group.create_task(proxy._serve(reader, writer), name="tcp_proxy")
                proxy._tasks.add(task)
                task.add_done_callback(proxy._tasks.discard)

            server = await asyncio.start_server(accept, listen_on, 0)
            proxy.port = server.sockets[0].getsockname()[1]
            try:
                yield proxy
            finally:
                server.close()
                for task in tuple(proxy._tasks):
                    task.cancel()

    def hold(self) -> None:
        """Pass nothing on any more."""
        self._open.clear()

    def let_go(self) -> None:
        """Pass everything on again, also what came meanwhile."""
        self._open.set()

    async def _serve(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            near_writer.close()
            return
        try:
            async with asyncio.TaskGroup() as group:
                pumps = {
                    group.create_task(self._pump(near_reader, far_writer), name="tcp_proxy_out"),
                    group.create_task(self._pump(far_reader, near_writer), name="tcp_proxy_in"),
                }
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
        finally:
            near_writer.close()
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                writer.write(chunk)
                await writer.drain()
