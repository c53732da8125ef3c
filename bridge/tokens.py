"""Tokens that let somebody into one room, and nothing else."""

from collections.abc import Mapping
from datetime import timedelta

from livekit import api

JOIN_TTL_S = 90.0
"""From minting to the end of the join; LiveKit sends whoever is inside a fresh one every five minutes."""


def agent_token(
    key: str,
    secret: str,
    *,
    room: str,
    identity: str,
    name: str,
    attributes: Mapping[str, str],
    ttl_s: float = JOIN_TTL_S,
) -> str:
    """A token to join one room as its agent: speak, hear, send data, show its state.

    Args:
        identity: The same for everybody who may be this room's agent, so that a join evicts whoever was there before.
        name: What a front-end shows.
        attributes: Beside the agent's state; everybody in the room can read them.

    Without LiveKit's `agent` grant: that one lets its holder register as LiveKit's own kind of worker.
    """
    grants = api.VideoGrants(
        room_join=True,
        room=room,
        can_publish=True,
        can_publish_sources=["microphone"],
        can_subscribe=True,
        can_publish_data=True,
        can_update_own_metadata=True,  # to say lk.agent.state as it changes
    )
    token = api.AccessToken(key, secret).with_identity(identity).with_name(name).with_kind("agent")
    token = token.with_attributes({"lk.agent.state": "initializing", **attributes})
    return token.with_grants(grants).with_ttl(timedelta(seconds=ttl_s)).to_jwt()


def caller_token(key: str, secret: str, *, room: str, identity: str, ttl_s: float = JOIN_TTL_S) -> str:
    """A token for a person in one room: speak, hear, send data. Good for joining within `ttl_s` seconds."""
    grants = api.VideoGrants(room_join=True, room=room, can_publish=True, can_subscribe=True, can_publish_data=True)
    token = api.AccessToken(key, secret).with_identity(identity).with_name(identity)
    return token.with_grants(grants).with_ttl(timedelta(seconds=ttl_s)).to_jwt()
