"""What a grant's token says to whoever wonders later."""

import jwt

from pool.registry import Grant
from pool.tokens import token_for

GRANT = Grant(
    room="r",
    sid="RM_1",
    created_unix_ms=1,
    fence=1_800_000_000_001,
    ttl_ms=3000,
    attempt=1,
    wanted_unix_ms=5,
    queued_unix_ms=5,
    newest_joined_unix_ms=5,
    callers={"PA_1": 5},
    claimed_unix_ms=12,
)


def test_a_grant_can_be_read_in_the_room() -> None:
    """Fence, carrier and the room's life stand in the agent's attributes."""
    secret = "a-secret-of-at-least-thirty-two-characters"
    token = token_for(GRANT, "devkey", secret, identity="voice-agent", name="Agent", carrier="c-1")
    claims = jwt.decode(token, secret, algorithms=["HS256"], issuer="devkey")
    assert claims["attributes"] == {
        "lk.agent.state": "initializing",
        "roompool.carrier": "c-1",
        "roompool.fence": "1800000000001",
        "roompool.sid": "RM_1",
    }
