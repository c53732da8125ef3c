"""The talk page of the demo: static files, and a caller's token for whoever asks. Never for a reachable address.

The token is made with PyJWT alone, for the receiver does not load LiveKit's libraries.
"""

import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles

TOKEN_LIFE_S = 600
"""Long enough to find the microphone; a call outlives its token."""

ROOM_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

LOOPBACK_NAMES = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class PageOptions:
    """What the talk page needs: where LiveKit is, as a browser sees it, and a key to sign callers' tokens with."""

    livekit_url: str
    api_key: str
    api_secret: str
    simulated: bool = False
    """Whether the page must say that the voice is a simulator's."""
    directory: Path = Path(__file__).parent / "page"


def routes(options: PageOptions) -> list[BaseRoute]:
    """`GET /token?room=…`. A room is made up where none is asked for."""

    async def token(request: Request) -> Response:
        # A page from elsewhere that points its own name at this machine would be handed a token otherwise.
        if request.url.hostname not in LOOPBACK_NAMES:
            return JSONResponse({"error": "only on this machine"}, status_code=403)
        room = request.query_params.get("room") or f"talk-{secrets.token_hex(3)}"
        if not ROOM_NAME.fullmatch(room):
            problem = "a room is 1 to 64 letters, digits, dots, dashes and underscores"
            return JSONResponse({"error": problem}, status_code=400)
        identity = f"caller-{secrets.token_hex(4)}"
        signed = caller_token(options, room=room, identity=identity, now_s=int(time.time()))
        answer = {
            "url": options.livekit_url,
            "token": signed,
            "room": room,
            "identity": identity,
            "simulated": options.simulated,
        }
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    return [Route("/token", token, methods=["GET"])]


def files(options: PageOptions) -> StaticFiles:
    """The files of the page, for every path that has no route."""
    return StaticFiles(directory=options.directory, html=True)


def caller_token(options: PageOptions, *, room: str, identity: str, now_s: int) -> str:
    """A token that lets a person join one room, speak and listen."""
    grant = {"roomJoin": True, "room": room, "canPublish": True, "canSubscribe": True, "canPublishData": True}
    claims = {"iss": options.api_key, "sub": identity, "nbf": now_s, "exp": now_s + TOKEN_LIFE_S, "video": grant}
    return jwt.encode(claims, options.api_secret, algorithm="HS256")
