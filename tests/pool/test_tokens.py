"""What the tokens let their holders do, read back with an independent JWT library."""

import time
from typing import Any

import jwt

from pool.tokens import agent_token, caller_token

KEY, SECRET = "devkey", "a-secret-of-at-least-thirty-two-characters"


def claims(token: str) -> dict[str, Any]:
    """The token's claims, its signature and times checked."""
    decoded: dict[str, Any] = jwt.decode(
        token, SECRET, algorithms=["HS256"], issuer=KEY, options={"require": ["exp", "nbf", "sub"]}
    )
    return decoded


def test_an_agent_may_do_what_a_voice_agent_does_and_no_more() -> None:
    """Kind agent, one room, a microphone, its own attributes; no admin, no right to register as a worker."""
    token = agent_token(
        KEY, SECRET, room="r", sid="RM_1", identity="voice-agent", carrier="c-1", fence=1_800_000_000_001, name="Agent"
    )
    read = claims(token)
    assert (read["sub"], read["name"], read["kind"]) == ("voice-agent", "Agent", "agent")
    assert read["video"] == {
        "roomJoin": True,
        "room": "r",
        "canPublish": True,
        "canPublishSources": ["microphone"],
        "canSubscribe": True,
        "canPublishData": True,
        "canUpdateOwnMetadata": True,
    }


def test_an_agents_grant_can_be_read_in_the_room() -> None:
    """Fence, carrier and the room's life stand in attributes, for whoever wonders later."""
    token = agent_token(
        KEY, SECRET, room="r", sid="RM_1", identity="voice-agent", carrier="c-1", fence=1_800_000_000_001, name="Agent"
    )
    assert claims(token)["attributes"] == {
        "lk.agent.state": "initializing",
        "roompool.carrier": "c-1",
        "roompool.fence": "1800000000001",
        "roompool.sid": "RM_1",
    }


def test_an_agents_token_lasts_for_the_join_alone() -> None:
    """Ninety seconds, or what is asked."""
    token = agent_token(KEY, SECRET, room="r", sid="s", identity="a", carrier="c", fence=1, name="n")
    assert 85 <= claims(token)["exp"] - time.time() <= 91
    short = agent_token(KEY, SECRET, room="r", sid="s", identity="a", carrier="c", fence=1, name="n", ttl_s=5)
    assert claims(short)["exp"] - time.time() <= 6


def test_a_caller_is_a_person_who_may_speak_and_listen() -> None:
    """No kind, no attributes, one room."""
    read = claims(caller_token(KEY, SECRET, room="r", identity="caller-1", name="Ann"))
    assert (read["sub"], read["name"], read.get("kind", "")) == ("caller-1", "Ann", "")
    assert read["video"] == {
        "roomJoin": True,
        "room": "r",
        "canPublish": True,
        "canSubscribe": True,
        "canPublishData": True,
    }


def test_a_hostile_room_name_stays_one_room() -> None:
    """Braces, quotes and control characters are data."""
    name = '{"x":1}\n*'
    assert claims(caller_token(KEY, SECRET, room=name, identity="c"))["video"]["room"] == name
