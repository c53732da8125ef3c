"""Deliveries as a real livekit-server 1.13.5 sends them: the same fields, encoded and signed the same way."""

import base64
import hashlib
import json
from typing import Any

import jwt

KEY = "devkey"
SECRET = "devsecret_devsecret_devsecret_0123"
OTHER_SECRET = "othersecret_othersecret_other_0123"
NOW_S = 1_764_000_000
TURN_PASSWORD = "turn-password-that-no-log-may-hold"

ROOM: dict[str, Any] = {
    "sid": "RM_room1",
    "name": "demo",
    "emptyTimeout": 300,
    "departureTimeout": 20,
    "creationTime": "1763999990",
    "creationTimeMs": "1763999990123",
    "turnPassword": TURN_PASSWORD,
    "enabledCodecs": [{"mime": "audio/opus"}],
}

CALLER: dict[str, Any] = {
    "sid": "PA_caller1",
    "identity": "anna",
    "state": "ACTIVE",
    "joinedAt": "1763999999",
    "joinedAtMs": "1763999999456",
    "permission": {"canSubscribe": True, "canPublish": True, "canPublishData": True},
    "isPublisher": True,
}


def message(event: str, *, room: Any = None, participant: Any = None, **more: Any) -> dict[str, Any]:
    """A webhook's body as an object; `room` and `participant` are changes to the ordinary ones."""
    said: dict[str, Any] = {"event": event, "room": {**ROOM, **(room or {})}, "id": "EV_1", "createdAt": str(NOW_S)}
    if event.startswith(("participant", "track")):
        said["participant"] = {**CALLER, **(participant or {})}
    return {**said, **more}


def body_of(said: Any) -> bytes:
    return json.dumps(said).encode()


def claims_of(body: bytes, *, now_s: float, **changes: Any) -> dict[str, Any]:
    """The claims of a genuine token, with changes; a change to None leaves the claim out."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    claims = {"iss": KEY, "iat": int(now_s), "nbf": int(now_s), "exp": int(now_s) + 300, "sha256": digest, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def token_of(body: bytes, *, now_s: float, secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """A token for a body, signed as LiveKit signs it unless asked otherwise."""
    return jwt.encode(claims_of(body, now_s=now_s, **changes), secret, algorithm=algorithm)
