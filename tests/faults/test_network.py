"""Faults of the network: one worker cut off, in a namespace of its own."""

import pytest

from deploy.local.chaos.fault import Ground
from tests.faults.stand import Stand, faults_of

GROUND = Ground.NETWORK

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("name", faults_of(GROUND))
async def test_every_caller_is_served_again_by_one_agent(stand: Stand, name: str) -> None:
    """No call is lost, moves without need, or hears two agents; every voice session of a living process is ended."""
    await stand.try_fault(name, seed="tests")
