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
    callers={"PA_1": 5},
    claimed_unix_ms=12,
)


def test_a_grant_can_be_read_in_the_room() -> None:
    """The fence stands in the agent's attributes, and nothing about our machines."""
    secret = "a-secret-of-at-least-thirty-two-characters"
    token = token_for(GRANT, "devkey", secret, identity="voice-agent", name="Agent")
    claims = jwt.decode(token, secret, algorithms=["HS256"], issuer="devkey")
    assert claims["attributes"] == {
        "lk.agent.state": "initializing",
        "roompool.fence": "1800000000001",
    }
