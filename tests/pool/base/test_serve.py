"""`pool.base.serve` and `pool.base.ops`: a port that is there while the block runs, and what probes read on it."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pool.base.errors import SettingsInvalid
from pool.base.ops import always_live, serve_ops
from pool.base.serve import serve, stop_signals


async def fetch(port: int, path: str, *, host: str = "127.0.0.1") -> httpx2.Response:
    async with httpx2.AsyncClient(verify=False) as client:
        return await client.get(f"http://{host}:{port}{path}")


async def hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


HELLO = Starlette(routes=[Route("/", hello)])


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_port_0_is_a_free_one_of_its_own() -> None:
    """Two of a kind live side by side, and both ports are gone afterwards."""
    async with (
        serve(HELLO, host="127.0.0.1", port=0, name="one") as one,
        serve(HELLO, host="localhost", port=0, name="two") as two,
    ):
        assert one != two
        assert (await fetch(one, "/")).text == (await fetch(two, "/")).text == "hello"
    assert not is_open(one)
    assert not is_open(two)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", None), ("192.0.2.1", 0), ("no.such.host.invalid", 0)])
async def test_an_address_that_cannot_be_had_is_a_settings_error(host: str, port: int | None) -> None:
    """Taken, somebody else's, or no name at all: one line with the address in it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = taken.getsockname()[1] if port is None else port
        with pytest.raises(SettingsInvalid) as caught:
            async with serve(HELLO, host=host, port=asked, name="third"):
                pass
    assert caught.value.problems[0].startswith(f"cannot listen on {host}:{asked}: ")


async def test_requests_in_flight_are_answered_at_the_end() -> None:
    """The block ends, the port closes, and who had already asked still hears."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> Response:
        asked.set()
        await answer.wait()
        return PlainTextResponse("late")

    async with (
        asyncio.TaskGroup() as group,
        serve(Starlette(routes=[Route("/", slow)]), host="127.0.0.1", port=0, name="slow") as port,
    ):
        fetching = group.create_task(fetch(port, "/"))
        await asked.wait()
        asyncio.get_running_loop().call_later(0.05, answer.set)
    assert fetching.result().text == "late"


async def test_requests_past_the_grace_are_cut_off() -> None:
    """The end is bounded."""

    async def endless(_request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError("never")

    app = Starlette(routes=[Route("/", endless)])
    async with asyncio.timeout(8):
        async with serve(app, host="127.0.0.1", port=0, name="endless", grace_s=1.0) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await writer.drain()
        writer.close()


async def test_an_error_in_the_block_ends_serving_and_goes_on() -> None:
    """As itself, not in a group, and after the lifespan has ended."""
    ended = []

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        ended.append(True)

    with pytest.raises(KeyError, match="ours"):
        async with serve(Starlette(lifespan=lifespan), host="127.0.0.1", port=0, name="failing"):
            raise KeyError("ours")
    assert ended == [True]


async def test_a_cancelled_block_ends_serving_and_stays_cancelled() -> None:
    """Nothing is left of it."""
    ports = []
    up = asyncio.Event()

    async def serving() -> None:
        async with serve(HELLO, host="127.0.0.1", port=0, name="cancelled") as port:
            ports.append(port)
            up.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(serving())
        await up.wait()
        task.cancel()
    assert task.cancelled()
    assert not is_open(ports[0])


async def test_an_application_that_does_not_start_is_an_error() -> None:
    """The process is not ended behind its own back."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        raise KeyError("no database")
        yield

    with pytest.raises(BaseExceptionGroup) as caught:
        async with serve(Starlette(lifespan=lifespan), host="127.0.0.1", port=0, name="broken"):
            raise AssertionError("never")
    assert caught.group_contains(RuntimeError, match="did not start")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_sets_the_event(number: signal.Signals) -> None:
    """And ends nothing by itself."""
    with stop_signals() as stop:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(20):
            await stop.wait()


async def test_probes_read_status_and_reason() -> None:
    """200 and 503, so that Kubernetes understands; the reason, so that a person does."""
    answer = [False, "draining"]
    async with serve_ops(live=always_live, ready=lambda: (bool(answer[0]), str(answer[1]))) as port:
        live, ready = await fetch(port, "/livez"), await fetch(port, "/readyz")
        assert (live.status_code, live.json()) == (200, {"ok": True, "reason": "answering"})
        assert (ready.status_code, ready.json()) == (503, {"ok": False, "reason": "draining"})
        answer[:] = [True, "ready"]
        assert (await fetch(port, "/readyz")).status_code == 200


async def test_metrics_are_those_of_the_registry() -> None:
    """In the format that Prometheus reads."""
    registry = CollectorRegistry()
    Counter("roompool_samples", "Samples.", registry=registry).inc(3)
    async with serve_ops(live=always_live, ready=always_live, registry=registry) as port:
        answer = await fetch(port, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "roompool_samples_total 3.0" in answer.text
