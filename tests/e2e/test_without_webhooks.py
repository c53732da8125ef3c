"""A webhook is a hint: the reconciler finds callers whose news never came."""

import pytest

from tests.e2e.conftest import SiteFactory
from tests.e2e.site import PATIENCE_S, new_room

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180)]


async def test_without_webhooks_the_agent_comes_all_the_same(site_factory: SiteFactory) -> None:
    """LiveKit posts nothing: a caller who was there before the workers is found, and one who comes later, too."""
    early, late = new_room("early"), new_room("late")
    async with site_factory(webhooks=False, workers=0) as site, site.caller(early) as waiting:
        async with site.hire(2):
            await waiting.agent_heard(PATIENCE_S)
            async with site.caller(late) as caller:
                await caller.agent_heard(PATIENCE_S)
                await site.reconciled(1)
                assert (caller.witness.agents_max, waiting.witness.agents_max) == (1, 1)
                await caller.hang_up()
            await waiting.hang_up()
        assert site.stack.webhook.events("delivery") == []
        assert [len(site.claims(room)) for room in (early, late)] == [1, 1]
