"""Faults of the network: one worker cut off, in a namespace of its own."""

import pytest

from deploy.local.chaos.fault import Environment
from tests.faults.shared_site import SharedSite, faults_of

ENVIRONMENT = Environment.NETWORK

pytestmark = [
    pytest.mark.livekit,
    pytest.mark.own_interfaces,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest.mark.parametrize("name", faults_of(ENVIRONMENT))
async def test_every_caller_is_served_again_by_one_agent(shared: SharedSite, name: str) -> None:
    """No call is lost, moves without need, or hears two agents; every voice session of a living process is ended."""
    await shared.try_fault(name, seed="tests")
