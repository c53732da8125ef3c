"""The token a caller joins with: an ordinary participant of kind standard, who may speak and listen."""

from datetime import timedelta

from livekit import api

CALLER_TTL_S = 120.0
"""Enough to join with; the server hands out fresh tokens in the room."""


def caller_token(*, key: str, secret: str, room: str, identity: str, ttl_s: float = CALLER_TTL_S) -> str:
    """Mint a token to join `room` as `identity`, valid for `ttl_s` seconds from now."""
    grants = api.VideoGrants(room_join=True, room=room, can_publish=True, can_subscribe=True, can_publish_data=True)
    token = api.AccessToken(key, secret).with_identity(identity).with_name(identity)
    return token.with_ttl(timedelta(seconds=ttl_s)).with_grants(grants).to_jwt()
