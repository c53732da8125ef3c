"""The environment of each file here, up for as long as the file's tests run."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.shared_site import SharedSite


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    livekit_binary: Path,
    settings: Mapping[str, str],
) -> AsyncIterator[SharedSite]:
    """A deployment of the environment that the file names as ENVIRONMENT."""
    environment = request.module.ENVIRONMENT
    shared = SharedSite(environment, tmp_path_factory.mktemp(environment.value), livekit_binary, settings)
    try:
        yield shared
    finally:
        await shared.down()
