"""Join tokens for a call by hand. The pool mints its own, with the fence in them."""

from datetime import timedelta

from livekit import api

AGENT_TOKEN_S = 90
"""Long enough to join; LiveKit refreshes the token of whoever is inside."""


def agent_token(key: str, secret: str, *, room: str, identity: str, name: str, attributes: dict[str, str]) -> str:
    """A token to join one room as its agent: speak, hear, send data, show its state, and nothing else."""
    grants = api.VideoGrants(
        room_join=True,
        room=room,
        can_publish=True,
        can_subscribe=True,
        can_publish_data=True,
        can_publish_sources=["microphone"],
        can_update_own_metadata=True,
    )
    token = api.AccessToken(key, secret).with_identity(identity).with_name(name).with_kind("agent")
    token = token.with_attributes({"lk.agent.state": "initializing", "lk.agent.name": name, **attributes})
    return token.with_ttl(timedelta(seconds=AGENT_TOKEN_S)).with_grants(grants).to_jwt()
