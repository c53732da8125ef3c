"""Joining for the first time: as often as the permit allows, and never by the SDK's own will."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from livekit import rtc
from livekit.rtc._proto.ffi_pb2 import FfiRequest

from bridge import Ending
from bridge.sdk_connect import amend, joins_once
from tests.bridge.harness import LIMIT_S, Harness

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(120)]


@dataclass
class Door:
    """The way to LiveKit's signalling: shut, each who comes is sent away."""

    target: int
    port: int = 0
    is_open: bool = False
    came: int = 0
    knocked: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self.knocked.set()
        with contextlib.closing(writer), contextlib.suppress(OSError):
            if self.is_open:
                there, back = await asyncio.open_connection("127.0.0.1", self.target)
                with contextlib.closing(back):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(pass_on(reader, back))
                        group.create_task(pass_on(there, writer))


async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()


@asynccontextmanager
async def door(harness: Harness) -> AsyncIterator[Door]:
    """In front of the run's LiveKit, and shut."""
    one = Door(harness.livekit.port)
    async with await asyncio.start_server(one.serve, "127.0.0.1", 0) as server:
        one.port = server.sockets[0].getsockname()[1]
        yield one


async def test_a_join_that_fails_is_tried_again(harness: Harness) -> None:
    """LiveKit was not to be reached for a moment: the caller is served all the same."""
    async with door(harness) as way:
        spec = replace(harness.spec(), url=f"ws://127.0.0.1:{way.port}")
        async with harness.caller() as caller, harness.call(spec) as call:
            async with asyncio.timeout(LIMIT_S):
                await way.knocked.wait()
            way.is_open = True
            await caller.agent_heard()
            await caller.hang_up()
            assert (await call).ending is Ending.CALLER_LEFT
    assert harness.owner.minted >= 2  # a token for each try


async def test_nobody_tries_again_whose_room_it_is_no_longer(harness: Harness) -> None:
    """The permit is asked before each try, and the SDK does not try by itself."""
    async with door(harness) as way:
        spec = replace(harness.spec(), url=f"ws://127.0.0.1:{way.port}")
        async with harness.call(spec) as call:
            async with asyncio.timeout(LIMIT_S):
                await way.knocked.wait()
            harness.owner.join = harness.owner.confirms = False
            assert (await call).ending is Ending.LEASE_LOST
    assert harness.owner.minted == 1


async def test_the_sdk_tries_a_connect_of_ours_once(harness: Harness) -> None:
    """Left to itself it tries several times."""

    harness.spec()  # from now on the owner has tokens

    async def knocks() -> int:
        way.came = 0
        with pytest.raises(rtc.ConnectError):
            await rtc.Room().connect(f"ws://127.0.0.1:{way.port}", harness.owner.token())
        return way.came

    async with door(harness) as way:
        with joins_once():
            once = await knocks()
        assert await knocks() >= 2 * once > 0


def test_no_other_request_is_amended() -> None:
    """They have no such option."""
    connect, other = FfiRequest(), FfiRequest()
    connect.connect.url = "ws://127.0.0.1"
    other.disconnect.room_handle = 1
    before = other.SerializePartialToString()
    amend(connect)
    amend(other)
    assert connect.connect.options.HasField("join_retries")
    assert connect.connect.options.join_retries == 0
    assert other.SerializePartialToString() == before
