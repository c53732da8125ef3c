"""The ground of each file here, up for as long as the file's tests run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.stand import Stand


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stand(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, livekit_binary: Path
) -> AsyncIterator[Stand]:
    """A stand on the ground that the file names as GROUND."""
    ground = request.module.GROUND
    stand = Stand(ground, tmp_path_factory.mktemp(ground.value), livekit_binary)
    try:
        yield stand
    finally:
        await stand.down()
