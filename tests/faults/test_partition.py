"""A network of its own for one program, and cuts in it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.local.chaos.fault import CannotStrike
from deploy.local.chaos.partition import Island, island

ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1).recv(2))"


@pytest.fixture
def land() -> Iterator[Island]:
    try:
        with island() as land:
            yield land
    except CannotStrike as error:
        pytest.skip(str(error))


@pytest.fixture
async def ports(land: Island) -> AsyncIterator[dict[str, int]]:
    """A server that greets, on each of the two addresses."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hi")
        writer.close()

    servers = {address: await asyncio.start_server(greet, address, 0) for address in (land.host, land.far)}
    yield {address: server.sockets[0].getsockname()[1] for address, server in servers.items()}
    for server in servers.values():
        server.close()


async def reaches(land: Island, address: str, port: int) -> bool:
    argv = [*land.words, sys.executable, "-I", "-S", "-c", ASK, address, str(port)]
    asking = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return await asking.wait() == 0


async def test_one_address_is_cut_off_and_healed_while_the_other_stays(land: Island, ports: dict[str, int]) -> None:
    """A cut is silent and complete, twice is once, and nothing else is touched."""
    assert [await reaches(land, *one) for one in ports.items()] == [True, True]
    land.cut(land.host)
    land.cut(land.host)
    assert not await reaches(land, land.host, ports[land.host])
    assert await reaches(land, land.far, ports[land.far])
    land.heal(land.host)
    land.heal(land.host)
    assert [await reaches(land, *one) for one in ports.items()] == [True, True]


def test_nothing_is_left_of_it() -> None:
    """Neither namespace, nor address, nor route."""
    try:
        with island() as land:
            assert land.host in shown("addr")
    except CannotStrike as error:
        pytest.skip(str(error))
    assert land.words[-1] not in shown("netns")
    assert land.host not in shown("addr")
    assert land.host.rpartition(".")[0] not in shown("route")


def shown(what: str) -> str:
    return subprocess.run(["ip", what], capture_output=True, text=True, check=True).stdout
