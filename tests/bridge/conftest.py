"""A harness for tests of calls: the run's LiveKit, and a simulator of the test's own."""

from collections.abc import AsyncIterator

import pytest

from bridge.simulator import Simulator, SimulatorOptions
from deploy.local.livekit_server import LiveKitServer
from tests.bridge.harness import Harness

QUICK = SimulatorOptions(endpoint_ms=600, lead_silence_ms=100, barge_in_ms=600, onset_ms=300)
"""Turn times far below the vendor's: these tests are about what we do with them."""


@pytest.fixture
async def harness(livekit: LiveKitServer) -> AsyncIterator[Harness]:
    async with Simulator(QUICK).serve() as simulator:
        yield Harness(livekit, simulator)
        await simulator.until(lambda sessions: all(session.ending is not None for session in sessions))
        assert all(session.violations == {} for session in simulator.sessions())
