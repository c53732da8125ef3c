"""What a grant's token says to whoever wonders later."""

import jwt

from pool.tokens import token_for
from tests.pool.test_endings import GRANT


def test_a_grant_can_be_read_in_the_room() -> None:
    """The fence stands in the agent's attributes, and nothing about our machines."""
    secret = "a-secret-of-at-least-thirty-two-characters"
    token = token_for(GRANT, "devkey", secret, identity="voice-agent", name="Agent")
    claims = jwt.decode(token, secret, algorithms=["HS256"], issuer="devkey")
    assert claims["attributes"] == {
        "lk.agent.state": "initializing",
        "roompool.fence": "7",
    }
