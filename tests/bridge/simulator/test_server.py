"""The simulator as a test or another process uses it: in the same process, by its control port, by its command."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.simulator import Faults, Running, Simulator

KEY = {"Authorization": "Bearer any-key"}
UPDATE = '{"type":"session.update","session":{}}'
LIMIT_S = 10.0


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A simulator with a control port."""
    async with Simulator().serve(control_port=0) as running:
        yield running


async def is_closed_with(socket: "object") -> int | None:
    """Read to the end; returns the close code."""
    from websockets.asyncio.client import ClientConnection

    assert isinstance(socket, ClientConnection)
    async with asyncio.timeout(LIMIT_S):
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass
    return socket.close_code


async def test_a_running_simulator_can_be_made_to_drop_and_to_hang_up(running: Running) -> None:
    """Both reach the sessions that are open, and say how many."""
    for act, code, ending in ((running.drop, 1006, "fault"), (running.hang_up, 1000, "hung_up")):
        async with connect(running.url, additional_headers=KEY) as socket:
            await socket.send(UPDATE)
            await running.until(lambda sessions: sessions[-1].is_ready)
            assert act() == 1
            assert await is_closed_with(socket) == code
        assert running.sessions()[-1].ending == ending
    assert running.drop() == 0


async def test_a_client_that_goes_without_a_word_is_reported(running: Running) -> None:
    """A socket closed without `session.end` is lost, and not ended."""
    async with connect(running.url, additional_headers=KEY) as socket:
        await socket.send(UPDATE)
        await running.until(lambda sessions: sessions[-1].is_ready)
    await running.until(lambda sessions: sessions[-1].ending == "lost")
    assert not running.sessions()[-1].ended_by_session_end


async def test_waiting_for_what_does_not_come_has_a_limit(running: Running) -> None:
    """`until` gives up."""
    with pytest.raises(TimeoutError):
        await running.until(lambda sessions: bool(sessions), limit_s=0.05)


async def test_the_control_port_reports_and_changes(running: Running) -> None:
    """Faults are set and read, sessions listed, actions taken, all in JSON."""
    assert running.control_url is not None
    async with httpx2.AsyncClient(base_url=running.control_url) as control:
        assert (await control.post("/faults", json={"script": ["long"], "sessions": 2})).json()["script"] == ["long"]
        assert running.faults == Faults(script=("long",), sessions=2)
        assert (await control.get("/faults")).json()["sessions"] == 2
        async with connect(running.url, additional_headers=KEY) as socket:
            await socket.send(UPDATE)
            await running.until(lambda sessions: sessions[-1].is_ready)
            report = (await control.get("/sessions")).json()
            assert report["simulator"] is True
            (session,) = report["sessions"]
            assert session["ending"] is None
            assert session["client_messages"] == {"session.update": 1}
            assert session["config"]["output"]["voice"] == "alba"
            assert (await control.post("/say", json={"line": "here"})).json() == {"sessions": 1}
            await running.until(lambda sessions: sessions[-1].frames_sent > 0)
            assert (await control.post("/hang_up", json={"session_id": "sess_other"})).json() == {"sessions": 0}
            assert (await control.post("/hang_up", json={"session_id": session["session_id"]})).json() == {
                "sessions": 1
            }
            assert await is_closed_with(socket) == 1000


@pytest.mark.parametrize(
    ("verb", "path", "body", "status"),
    [
        ("GET", "/nothing", "", 404),
        ("POST", "/faults", "{", 400),
        ("POST", "/faults", "[]", 400),
        ("POST", "/faults", '{"no_redy": true}', 400),
        ("POST", "/say", '{"line": "sing"}', 400),
        ("POST", "/drop", '{"session_id": 1}', 400),
        ("POST", "/faults", " " * 70_000, 413),
    ],
)
async def test_a_bad_request_is_told(running: Running, verb: str, path: str, body: str, status: int) -> None:
    """The control port answers with what was wrong, and goes on."""
    assert running.control_url is not None
    async with httpx2.AsyncClient(base_url=running.control_url) as control:
        answer = await control.request(verb, path, content=body)
        assert answer.status_code == status
        assert "error" in answer.json()
        assert (await control.get("/sessions")).status_code == 200


async def test_a_port_that_is_taken_is_an_error(running: Running) -> None:
    """A second simulator on the same port fails and does not hang."""
    port = int(running.url.split(":")[2].split("/")[0])
    with pytest.raises(OSError):
        async with Simulator().serve(port=port):
            pass


COMMAND = [sys.executable, "-c", "import typer; from bridge.commands import simulator; typer.run(simulator)"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_prints_its_address_and_stops_cleanly(number: signal.Signals) -> None:
    """One line with the addresses, a session that works, exit 0 on either signal."""
    arguments = ["--port", "0", "--control-port", "0", "--json", "--fault", "slow_ready_ms=10", "--refuse-key", "mine"]
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            addresses = None
            while addresses is None:
                line = await process.stdout.readline()
                addresses = json.loads(line) if line.startswith(b"{") else None
            async with connect(addresses["url"], additional_headers={"Authorization": "mine"}) as socket:
                assert json.loads(await socket.recv())["code"] == "unauthorized"
            async with connect(addresses["url"], additional_headers=KEY) as socket:
                await socket.send(UPDATE)
                assert json.loads(await socket.recv())["type"] == "session.updated"
                process.send_signal(number)
                assert await is_closed_with(socket) == 1000
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_misspelt_fault_is_told_before_anything_starts() -> None:
    """Exit 2, with the names there are."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--fault", "no_redy=true", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"no_redy" in told
