"""What LiveKit posts about a call, ready to be sent: bodies, signed, as whole HTTP requests. No sockets here."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from deploy.local.livekit_server import LiveKitKeys

AGENT = "voice-agent"
"""Our agent's identity by default: LiveKit tells of it, too."""

WAVE = 100
"""So many calls go side by side, each at the same step: LiveKit sends the events of one room one after the other."""

SIGNED_FOR_S = 300
"""LiveKit's own."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: a room of its own, with one caller and our agent.

    Attributes:
        name: The room's.
        ends: Whether its deliveries tell of its end, or stop while everybody is in the room.
    """

    name: str
    ends: bool
    began_unix_ms: int

    @property
    def sid(self) -> str:
        return f"RM_{self.name}"

    @property
    def caller_sid(self) -> str:
        return f"PA_c{self.name}"

    def deliveries(self) -> Iterator[Mapping[str, Any]]:
        """All that LiveKit says of it, in order, as objects to be encoded."""
        caller, agent = self._participant(self.caller_sid, "anna"), self._participant(f"PA_a{self.name}", AGENT)
        yield self._event("room_started")
        yield self._event("participant_joined", participant=caller)
        yield self._event("track_published", participant=caller, track=self._track("c"))
        yield self._event("participant_joined", participant=agent)
        yield self._event("track_published", participant=agent, track=self._track("a"))
        if self.ends:
            yield self._event("track_unpublished", participant=caller, track=self._track("c"))
            yield self._event("participant_left", participant=caller | {"disconnectReason": "CLIENT_INITIATED"})
            yield self._event("participant_left", participant=agent | {"disconnectReason": "CLIENT_INITIATED"})
            yield self._event("room_finished")

    def _event(self, event: str, **more: Any) -> Mapping[str, Any]:
        began = self.began_unix_ms
        room = {
            "sid": self.sid,
            "name": self.name,
            "emptyTimeout": 300,
            "departureTimeout": 20,
            "creationTime": str(began // 1000),
            "creationTimeMs": str(began),
            "turnPassword": "a-password-of-some-length-that-is-none",
            "enabledCodecs": [{"mime": mime} for mime in ("audio/opus", "audio/red", "video/VP8", "video/H264")],
        }
        return {"event": event, "room": room, "id": f"EV_{event}{self.name}", "createdAt": str(began // 1000), **more}

    def _participant(self, sid: str, identity: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "identity": identity,
            "state": "ACTIVE",
            "joinedAt": str(self.began_unix_ms // 1000),
            "joinedAtMs": str(self.began_unix_ms),
            "version": 3,
            "permission": {"canSubscribe": True, "canPublish": True, "canPublishData": True},
            "isPublisher": True,
        }

    def _track(self, whose: str) -> dict[str, Any]:
        return {"sid": f"TR_{whose}{self.name}", "name": "audio", "source": "MICROPHONE", "mimeType": "audio/opus"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request, and what it is about."""

    call: Call
    event: str
    is_of_caller: bool
    request: bytes


def signed(calls: Sequence[Call], keys: LiveKitKeys, *, path: str, now_unix_s: int) -> list[Delivery]:
    """All deliveries of the calls, wave by wave, each signed at `now_unix_s`. Takes some 50 us for each."""
    deliveries: list[Delivery] = []
    for start in range(0, len(calls), WAVE):
        wave = [[(call, said) for said in call.deliveries()] for call in calls[start : start + WAVE]]
        for step in range(max(map(len, wave))):
            deliveries += [_signed(*one[step], keys, path, now_unix_s) for one in wave if step < len(one)]
    return deliveries


def _signed(call: Call, said: Mapping[str, Any], keys: LiveKitKeys, path: str, now_unix_s: int) -> Delivery:
    body = json.dumps(said, separators=(",", ":")).encode()
    claims = {
        "iss": keys.api_key,
        "nbf": now_unix_s,
        "exp": now_unix_s + SIGNED_FOR_S,
        "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
    }
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: {jwt.encode(claims, keys.api_secret, algorithm='HS256')}\r\n"
        "Content-Type: application/webhook+json\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    is_of_caller = said.get("participant", {}).get("sid") == call.caller_sid
    return Delivery(call, said["event"], is_of_caller, head.encode() + body)
