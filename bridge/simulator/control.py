"""The control port: HTTP/1.1 on loopback, outside the protocol, for tests in other processes.

GET /sessions, GET /faults, POST /faults (JSON of `Faults`, replaces all), POST /drop, /hang_up, /say (JSON with
`session_id`, absent for all, and for /say `line`). One request a connection, bounded in size and time.
"""

import asyncio
import http
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import orjson

from bridge.simulator.options import Faults
from bridge.simulator.records import SessionReport

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEAD_BYTES = 16_384
MAX_BODY_BYTES = 65_536
REQUEST_LIMIT_S = 5.0


class Controlled(Protocol):
    """What the control port acts on: a running simulator."""

    faults: Faults

    def sessions(self) -> "Sequence[SessionReport]":
        """Reports, oldest first."""

    def drop(self, session_id: str | None = None) -> int:
        """Cut connections."""

    def hang_up(self, session_id: str | None = None) -> int:
        """End sessions."""

    def say(self, name: str, session_id: str | None = None) -> int:
        """Speak a line."""


class BadRequest(Exception):
    """The client asked for something that there is not, or not like that."""

    def __init__(self, status: http.HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@asynccontextmanager
async def serve_control(running: Controlled, host: str, port: int | None) -> AsyncIterator[str | None]:
    """Answer while the block runs and yield the address; with port None do nothing and yield None."""
    if port is None:
        yield None
        return
    async with asyncio.TaskGroup() as group:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            group.create_task(_serve_one(running, reader, writer), name="simulator_control")

        server = await asyncio.start_server(accept, host, port, limit=MAX_HEAD_BYTES)
        try:
            yield f"http://{host}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


async def _serve_one(running: Controlled, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(REQUEST_LIMIT_S):
            status, body = await _answer(running, reader)
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: roompool voice simulator\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return  # whoever asked is gone or sends no request
    finally:
        writer.close()


async def _answer(running: Controlled, reader: asyncio.StreamReader) -> tuple[http.HTTPStatus, bytes]:
    try:
        verb, path, asked = await _read_request(reader)
        return http.HTTPStatus.OK, orjson.dumps(_act(running, verb, path, asked))
    except BadRequest as bad:
        return bad.status, orjson.dumps({"error": bad.message})


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, Mapping[str, object]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *header_lines = head.split("\r\n")
    try:
        verb, path, _ = request_line.split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (row.partition(":") for row in header_lines)
        }
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise BadRequest(http.HTTPStatus.BAD_REQUEST, "not HTTP") from error
    if not 0 <= length <= MAX_BODY_BYTES:
        raise BadRequest(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY_BYTES} bytes")
    body = await reader.readexactly(length)
    try:
        asked = orjson.loads(body) if body else {}
    except ValueError as error:
        raise BadRequest(http.HTTPStatus.BAD_REQUEST, "the body is not JSON") from error
    if not isinstance(asked, dict):
        raise BadRequest(http.HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    return verb, path, asked


def _act(running: Controlled, verb: str, path: str, asked: Mapping[str, object]) -> object:
    session_id = asked.get("session_id")
    if session_id is not None and not isinstance(session_id, str):
        raise BadRequest(http.HTTPStatus.BAD_REQUEST, "session_id is not a string")
    match verb, path:
        case "GET", "/sessions":
            return {"simulator": True, "sessions": running.sessions()}
        case "GET", "/faults":
            return running.faults
        case "POST", "/faults":
            try:
                running.faults = Faults.parse(asked)
            except ValueError as error:
                raise BadRequest(http.HTTPStatus.BAD_REQUEST, str(error)) from error
            return running.faults
        case "POST", "/drop":
            return {"sessions": running.drop(session_id)}
        case "POST", "/hang_up":
            return {"sessions": running.hang_up(session_id)}
        case "POST", "/say":
            try:
                return {"sessions": running.say(str(asked.get("line", "here")), session_id)}
            except KeyError as error:
                raise BadRequest(http.HTTPStatus.BAD_REQUEST, f"no line is called {error}") from error
        case _:
            raise BadRequest(http.HTTPStatus.NOT_FOUND, "GET /sessions /faults, POST /faults /drop /hang_up /say")
