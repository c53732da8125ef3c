"""`webhook.health`: ready while Redis is there and nobody has asked us to stop."""

import pytest

from pool.client import PoolUnfit, PoolUnreachable
from tests.webhook.receiver import Ledger
from webhook.health import Health

AWAY = Ledger(failure=PoolUnreachable("ConnectionError"))
UNFIT = Ledger(failure=PoolUnfit("REDIS_URL: is a replica. Cure: name the primary."))


@pytest.mark.parametrize(
    ("seen", "ready"),
    [
        ([], (False, "starting")),
        ([Ledger()], (True, "ready")),
        ([AWAY], (False, "pool_unreachable")),
        ([Ledger(), AWAY], (False, "pool_unreachable")),
        ([AWAY, Ledger()], (True, "ready")),
        ([AWAY, UNFIT], (False, "REDIS_URL: is a replica. Cure: name the primary.")),
        ([UNFIT, Ledger()], (True, "ready")),
    ],
    ids=["nothing yet", "there", "away", "gone away", "back", "come, and unfit", "mended"],
)
async def test_readiness_is_what_was_seen_last(seen: list[Ledger], ready: tuple[bool, str]) -> None:
    """Each look replaces the one before."""
    health = Health()
    for pool in seen:
        await health.look(pool)
    assert health.ready() == ready


async def test_who_drains_stays_unready() -> None:
    """Seeing Redis again does not undo a stop."""
    health = Health()
    await health.look(Ledger())
    health.drain()
    await health.look(Ledger())
    assert health.ready() == (False, "draining")
