"""Tokens that let somebody into one room. They carry no more than is needed, and what they carry is for the audit."""

from datetime import timedelta

from livekit import api

JOIN_LIFE_S = 90
"""From minting to the end of the join; once inside, LiveKit sends a fresh one every five minutes."""

CALLER_LIFE_S = 3600


def agent_token(
    key: str,
    secret: str,
    *,
    room: str,
    sid: str,
    identity: str,
    carrier: str,
    fence: int,
    name: str,
    ttl_s: float = JOIN_LIFE_S,
) -> str:
    """A token for our agent in one room.

    Args:
        sid: The life of the room that the grant was for.
        identity: The same for every carrier, so that a join evicts whoever was there before.
        name: What a front-end shows.

    Who was let in by which grant stands in attributes that everybody in the room can read. Without the `agent` grant:
    that one lets its holder register as LiveKit's own kind of worker.
    """
    attributes = {
        "lk.agent.state": "initializing",
        "roompool.carrier": carrier,
        "roompool.fence": str(fence),
        "roompool.sid": sid,
    }
    grants = api.VideoGrants(
        room_join=True,
        room=room,
        can_publish=True,
        can_publish_sources=["microphone"],
        can_subscribe=True,
        can_publish_data=True,
        can_update_own_metadata=True,  # to say lk.agent.state as it changes
    )
    return (
        api.AccessToken(key, secret)
        .with_identity(identity)
        .with_name(name)
        .with_kind("agent")
        .with_attributes(attributes)
        .with_grants(grants)
        .with_ttl(timedelta(seconds=ttl_s))
        .to_jwt()
    )


def caller_token(
    key: str, secret: str, *, room: str, identity: str, name: str = "", ttl_s: float = CALLER_LIFE_S
) -> str:
    """A token for a person in one room: speak, listen, send data."""
    grants = api.VideoGrants(room_join=True, room=room, can_publish=True, can_subscribe=True, can_publish_data=True)
    return (
        api.AccessToken(key, secret)
        .with_identity(identity)
        .with_name(name)
        .with_grants(grants)
        .with_ttl(timedelta(seconds=ttl_s))
        .to_jwt()
    )
