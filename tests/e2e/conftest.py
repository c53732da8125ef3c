"""Two deployments for the whole run, each started when the first test asks; what a test breaks it starts itself."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import pytest_asyncio

from deploy.local.processes import Child
from deploy.local.stack import Stack, StackOptions
from tests.e2e.site import Site, leaks
from tests.peers.stacks import StackFactory

SiteFactory = Callable[..., AbstractAsyncContextManager[Site]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def calm(tmp_path_factory: pytest.TempPathFactory, settings: Mapping[str, str]) -> AsyncIterator[Site]:
    """Two workers that nobody hurts: tests bring callers, and rooms of their own."""
    options = StackOptions(run_dir=tmp_path_factory.mktemp("calm"), workers=2, settings=settings)
    async with Stack.start(options) as stack, Site.on(stack) as site:
        yield site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rough(tmp_path_factory: pytest.TempPathFactory, settings: Mapping[str, str]) -> AsyncIterator[Site]:
    """Everything but workers: each test hires its own, and does to them what it likes."""
    options = StackOptions(run_dir=tmp_path_factory.mktemp("rough"), workers=0, settings=settings)
    async with Stack.start(options) as stack, Site.on(stack) as site:
        yield site


@pytest.fixture
def workers(calm: Site) -> list[Child]:
    """The two of the calm deployment."""
    return calm.stack.workers


@pytest.fixture
def site_factory(stack_factory: StackFactory) -> SiteFactory:
    """`async with site_factory(webhooks=False) as site:` a deployment of the test's own."""

    @asynccontextmanager
    async def make(**options: object) -> AsyncIterator[Site]:
        async with stack_factory(**options) as stack, Site.on(stack) as site:
            yield site
            assert leaks(stack) == []

    return make


@pytest.fixture(autouse=True)
def discreet(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: no process has logged a secret, a token, or a word that anybody said."""
    yield
    for name in {"calm", "rough"} & set(request.fixturenames):
        assert leaks(request.getfixturevalue(name).stack) == []
