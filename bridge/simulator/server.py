"""The simulator's socket and clock: accepts connections, paces their frames, passes their messages on.

It decides nothing of the protocol but what happens before it: the path, and in the `docs` profile the refused upgrade.
"""

import asyncio
import http
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from bridge.simulator.control import serve_control
from bridge.simulator.directory import Directory
from bridge.simulator.lines import line, preload
from bridge.simulator.options import Faults, SimulatorOptions
from bridge.simulator.records import SessionReport
from bridge.simulator.session import Phase, VoiceSession
from bridge.simulator.wire import Abort, Binary, Close, Outgoing

log = structlog.get_logger()

PATH = "/v1/ws"
FRAMES_EVERY_S = 0.02
"""Frames are 10 ms long but leave in pairs: half the wake-ups, and no client can tell it from a network's jitter."""
CLOSE_LIMIT_S = 1.0
STOP_LIMIT_S = 2.0
MAX_MESSAGE_BYTES = 2**20
"""The live service's library refuses larger ones by default, with 1009."""


@dataclass(slots=True, eq=False)
class _Wait:
    condition: Callable[[Sequence[SessionReport]], bool]
    met: asyncio.Event = field(default_factory=asyncio.Event)


class Running:
    """A simulator that listens."""

    def __init__(self, directory: Directory) -> None:
        self.url = ""
        """Where the Voice Agent API is spoken, `ws://HOST:PORT/v1/ws`."""
        self.control_url: str | None = None
        """Where the control port answers, `http://HOST:PORT`; None without one."""
        self._directory = directory
        self._connections: dict[VoiceSession, _Connection] = {}
        self._waits: set[_Wait] = set()

    @property
    def faults(self) -> Faults:
        """What goes wrong for connections that open from now on."""
        return self._directory.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._directory.set_faults(faults)
        log.info("simulator_faults_set")

    def sessions(self) -> list[SessionReport]:
        """A report for every remembered connection, oldest first."""
        return self._directory.reports()

    async def until(self, condition: Callable[[Sequence[SessionReport]], bool], *, limit_s: float = 10) -> None:
        """Wait until the reports fulfil a condition; it is asked after each message in or out.

        Raises:
            TimeoutError: they did not within `limit_s`.
        """
        if condition(self.sessions()):
            return
        wait = _Wait(condition)
        self._waits.add(wait)
        try:
            async with asyncio.timeout(limit_s):
                await wait.met.wait()
        finally:
            self._waits.discard(wait)

    def drop(self, session_id: str | None = None) -> int:
        """Cut the connection of a session, or of all; returns how many."""
        return self._act(VoiceSession.drop, session_id)

    def hang_up(self, session_id: str | None = None) -> int:
        """The agent ends a session, or all; returns how many."""
        return self._act(VoiceSession.hang_up, session_id)

    def say(self, name: str, session_id: str | None = None) -> int:
        """The agent speaks a line unasked where nobody speaks; returns how many sessions were asked.

        Raises:
            KeyError: no line is called `name`.
        """
        line(name)
        return self._act(lambda session, now: session.say(name, now), session_id)

    def _act(self, action: Callable[[VoiceSession, float], None], session_id: str | None) -> int:
        chosen = [
            connection
            for session, connection in self._connections.items()
            if session.phase is not Phase.ENDED and session_id in (None, session.record.session_id)
        ]
        for connection in chosen:
            action(connection.session, asyncio.get_running_loop().time())
            connection.wake()
        return len(chosen)

    def _changed(self) -> None:
        if not self._waits:
            return
        reports = self.sessions()
        for wait in self._waits:
            if wait.condition(reports):
                wait.met.set()

    async def _accept(self, socket: ServerConnection) -> None:
        """Serve one connection until it is over; the WebSocket server owns the task this runs in."""
        loop = asyncio.get_running_loop()
        session = VoiceSession(
            self._directory, credential=_credential(socket.request), now=loop.time(), unix_now=time.time()
        )
        connection = _Connection(socket, session, self._changed)
        self._connections[session] = connection
        try:
            await connection.run()
        finally:
            session.lose(loop.time())
            del self._connections[session]
            self._changed()
            _log_session(session)

    async def _stop(self) -> None:
        """End every session properly, as far as its client takes it in time."""
        try:
            async with asyncio.timeout(STOP_LIMIT_S), asyncio.TaskGroup() as group:
                for session, connection in self._connections.items():
                    session.stop(asyncio.get_running_loop().time())
                    group.create_task(connection.finish(), name="simulator_stop")
        except TimeoutError:
            log.warning("simulator_stop_incomplete", connections=len(self._connections))


class Simulator:
    """The voice simulator; `serve` starts it."""

    def __init__(self, options: SimulatorOptions | None = None, faults: Faults | None = None) -> None:
        self._options = options or SimulatorOptions()
        self._faults = faults or Faults()

    @asynccontextmanager
    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, control_port: int | None = None
    ) -> AsyncIterator[Running]:
        """Listen while the block runs; port 0 is a free one, `control_port` None is no control port.

        Leaving the block ends every session with `session.ended`, and waits for the connections, bounded.

        Raises:
            OSError: a port cannot be had.
        """
        await asyncio.to_thread(preload)
        directory = Directory(self._options, self._faults)
        running = Running(directory)
        accepting = serve(
            running._accept,
            host,
            port,
            process_request=self._greet_request,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            close_timeout=CLOSE_LIMIT_S,
            server_header="roompool voice simulator",
            logger=logging.getLogger("simulator.socket"),
        )
        async with accepting as server, serve_control(running, host, control_port) as control_url:
            running.url = f"ws://{_authority(host, server)}{PATH}"
            running.control_url = control_url
            log.info("simulator_listening", url=running.url, control=control_url, profile=self._options.profile.value)
            try:
                yield running
            finally:
                await running._stop()
                log.info("simulator_stopped", url=running.url)

    def _greet_request(self, socket: ServerConnection, request: Request) -> Response | None:
        """None to go on with the handshake. Only the documents refuse a bad key here; live it is told in-band."""
        if urlsplit(request.path).path != PATH:
            return socket.respond(http.HTTPStatus.NOT_FOUND, f"The roompool voice simulator speaks at {PATH}\n")
        if self._options.is_docs and not self._options.accepts(_credential(request)):
            return socket.respond(http.HTTPStatus.UNAUTHORIZED, "Authentication failed\n")
        return None


class _Connection:
    """One socket: reads in one task, paces in another, and sends in the order of the session."""

    def __init__(self, socket: ServerConnection, session: VoiceSession, changed: Callable[[], None]) -> None:
        self.session = session
        self._socket = socket
        self._changed = changed
        self._sending = asyncio.Lock()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """The session changed from outside: look at it now."""
        self._woken.set()

    async def finish(self) -> None:
        """Send what is left, a close frame last."""
        try:
            await self._flush()
        except ConnectionClosed:
            return

    async def run(self) -> None:
        """Serve until the connection is closed by either side."""
        async with asyncio.TaskGroup() as group:
            pacing = group.create_task(self._pace(), name="simulator_pace")
            await self._read()
            pacing.cancel()

    async def _read(self) -> None:
        """Ends when the socket does. A client that does not read is not read from: sending waits for it."""
        loop = asyncio.get_running_loop()
        try:
            await self._flush()
            async for message in self._socket:
                self.session.receive(message, loop.time())
                if self.session.has_output:
                    await self._flush()
                self._woken.set()
                self._changed()
        except ConnectionClosed:
            return

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._woken.clear()
                await self._sleep_until(self.session.due_at)
                self.session.tick(loop.time())
                await self._flush()
                self._changed()
        except ConnectionClosed:
            return

    async def _sleep_until(self, due_at: float) -> None:
        """Until it is due, or until something changed. While frames stream, one wake-up sends several."""
        loop = asyncio.get_running_loop()
        if self.session.is_streaming:
            await asyncio.sleep(max(due_at - loop.time(), 0) + FRAMES_EVERY_S / 2)
            return
        try:
            async with asyncio.timeout_at(None if due_at == float("inf") else due_at):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _flush(self) -> None:
        """Send what there is, in order; holds back whoever would send at the same time."""
        async with self._sending:
            for item in self.session.take():
                await self._send(item)

    async def _send(self, item: Outgoing) -> None:
        match item:
            case bytes():
                await self._socket.send(item, text=True)
            case Binary(payload):
                await self._socket.send(payload)
            case Close(code, reason):
                await self._socket.close(code, reason)
            case Abort():
                self._socket.transport.abort()


def _credential(request: Request | None) -> str:
    """The key or token shown on the upgrade request: as a bearer, bare, or as `?token=`; empty for none."""
    if request is None:
        return ""
    header = request.headers.get("Authorization", "")
    token = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
    return header.removeprefix("Bearer ").strip() or token


def _authority(host: str, server: Server) -> str:
    port = next(iter(server.sockets)).getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _log_session(session: VoiceSession) -> None:
    """The one line of a session with its whole story; nothing that was said."""
    report = session.record.report()
    log.info(
        "simulator_session_over",
        voice_session=report.session_id,
        ending=report.ending,
        error=report.error,
        turns=report.turns,
        replies=report.replies,
        interruptions=report.interruptions,
        audio_received_ms=report.audio_received_ms,
        frames_sent=report.frames_sent,
        violations=report.violations,
    )
