"""`roompool token ROOM`: a caller's token, to join a room with any LiveKit client."""

import json
import secrets
from typing import Annotated

import typer

from bridge import LiveKitSettings
from pool.base.settings import load


def token(
    room: Annotated[str, typer.Argument(help="The room to join.", envvar="ROOM_NAME")],
    identity: Annotated[str, typer.Option(help="Who joins; random by default.")] = "",
    ttl_s: Annotated[int, typer.Option(min=1, max=86_400, help="Seconds in which to join with it.")] = 600,
    as_json: Annotated[bool, typer.Option("--json", help="Print url, token, room and identity as JSON.")] = False,
) -> None:
    """Make a token with which a caller can join ROOM, and print it with LiveKit's address.

    Example: roompool token demo --json
    """
    from bridge import caller_token  # half a second of protobuf, which --help can do without

    settings = load(LiveKitSettings)
    who = identity or f"caller-{secrets.token_hex(4)}"
    jwt = caller_token(
        settings.livekit_api_key,
        settings.livekit_api_secret.get_secret_value(),
        room=room,
        identity=who,
        ttl_s=ttl_s,
    )
    if as_json:
        typer.echo(json.dumps({"url": settings.livekit_url, "token": jwt, "room": room, "identity": who}))
    else:
        typer.echo(f"url       {settings.livekit_url}\nroom      {room}\nidentity  {who}\ntoken     {jwt}")
