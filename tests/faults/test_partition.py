"""A network of its own for one program, and cuts in it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.local.chaos.fault import CannotInject
from deploy.local.chaos.partition import IsolatedNetwork, isolated_network

pytestmark = pytest.mark.own_interfaces

ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1).recv(2))"


@pytest.fixture
def network() -> Iterator[IsolatedNetwork]:
    try:
        with isolated_network() as network:
            yield network
    except CannotInject as error:
        pytest.skip(str(error))


@pytest.fixture
async def ports(network: IsolatedNetwork) -> AsyncIterator[dict[str, int]]:
    """A server that greets, on each of the two addresses."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hi")
        writer.close()

    servers = {address: await asyncio.start_server(greet, address, 0) for address in (network.host, network.far)}
    yield {address: server.sockets[0].getsockname()[1] for address, server in servers.items()}
    for server in servers.values():
        server.close()


async def reaches(network: IsolatedNetwork, address: str, port: int) -> bool:
    argv = [*network.words, sys.executable, "-I", "-S", "-c", ASK, address, str(port)]
    asking = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return await asking.wait() == 0


async def test_one_address_is_cut_off_and_healed_while_the_other_stays(
    network: IsolatedNetwork, ports: dict[str, int]
) -> None:
    """A cut is silent and complete, twice is once, and nothing else is touched."""
    assert [await reaches(network, *one) for one in ports.items()] == [True, True]
    network.cut(network.host)
    network.cut(network.host)
    assert not await reaches(network, network.host, ports[network.host])
    assert await reaches(network, network.far, ports[network.far])
    network.heal(network.host)
    network.heal(network.host)
    assert [await reaches(network, *one) for one in ports.items()] == [True, True]


def test_nothing_is_left_of_it() -> None:
    """Neither namespace, nor address, nor route."""
    try:
        with isolated_network() as network:
            assert network.host in shown("addr")
    except CannotInject as error:
        pytest.skip(str(error))
    assert network.words[-1] not in shown("netns")
    assert network.host not in shown("addr")
    assert network.host.rpartition(".")[0] not in shown("route")


def shown(what: str) -> str:
    return subprocess.run(["ip", what], capture_output=True, text=True, check=True).stdout
