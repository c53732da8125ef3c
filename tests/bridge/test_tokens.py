"""What the tokens let their holders do, read back with an independent JWT library."""

import time
from typing import Any

import jwt

from bridge.tokens import agent_token, caller_token

KEY, SECRET = "devkey", "a-secret-of-at-least-thirty-two-characters"


def claims(token: str) -> dict[str, Any]:
    """The token's claims, its signature and times checked."""
    decoded: dict[str, Any] = jwt.decode(
        token, SECRET, algorithms=["HS256"], issuer=KEY, options={"require": ["exp", "nbf", "sub"]}
    )
    return decoded


def test_an_agent_may_do_what_a_voice_agent_does_and_no_more() -> None:
    """Kind agent, one room, a microphone, its own attributes; no admin, no right to register as a worker."""
    read = claims(agent_token(KEY, SECRET, room="r", identity="voice-agent", name="Agent", attributes={"a": "b"}))
    assert (read["sub"], read["name"], read["kind"]) == ("voice-agent", "Agent", "agent")
    assert read["attributes"] == {"lk.agent.state": "initializing", "a": "b"}
    assert read["video"] == {
        "roomJoin": True,
        "room": "r",
        "canPublish": True,
        "canPublishSources": ["microphone"],
        "canSubscribe": True,
        "canPublishData": True,
        "canUpdateOwnMetadata": True,
    }


def test_an_agents_token_lasts_for_the_join_alone() -> None:
    """Ninety seconds, or what is asked."""
    began_at = int(time.time())
    token = agent_token(KEY, SECRET, room="r", identity="a", name="n", attributes={})
    short = agent_token(KEY, SECRET, room="r", identity="a", name="n", attributes={}, ttl_s=5)
    ended_at = time.time()
    assert began_at + 90 <= claims(token)["exp"] <= ended_at + 90
    assert began_at + 5 <= claims(short)["exp"] <= ended_at + 5


def test_a_caller_is_a_person_who_may_speak_and_listen() -> None:
    """No kind, no attributes, one room."""
    read = claims(caller_token(KEY, SECRET, room="r", identity="caller-1"))
    assert (read["sub"], read["name"], read.get("kind", "")) == ("caller-1", "caller-1", "")
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
