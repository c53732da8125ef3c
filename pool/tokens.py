"""The token that a grant is worth: it says, for whoever wonders later, by which grant an agent came in."""

from bridge import agent_token
from pool.registry import Grant

FENCE_ATTRIBUTE = "roompool.fence"
"""The participant attribute that holds the fence of the grant, in decimal digits."""


def token_for(grant: Grant, key: str, secret: str, *, identity: str, name: str) -> str:
    """A token for our agent in the granted room. Its fence can be read there; which machine it runs on cannot."""
    attributes = {FENCE_ATTRIBUTE: str(grant.fence)}
    return agent_token(key, secret, room=grant.room, identity=identity, name=name, attributes=attributes)
