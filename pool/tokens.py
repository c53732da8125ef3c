"""The token that a grant is worth: it says, for whoever wonders later, by which grant an agent came in."""

from bridge import agent_token
from pool.registry import Grant


def token_for(grant: Grant, key: str, secret: str, *, identity: str, name: str, carrier: str) -> str:
    """A token for our agent in the granted room, with carrier, fence and the room's life in its attributes."""
    attributes = {
        "roompool.carrier": carrier,
        "roompool.fence": str(grant.fence),
        "roompool.sid": grant.sid,
    }
    return agent_token(key, secret, room=grant.room, identity=identity, name=name, attributes=attributes)
