"""`roompool retry ROOM`: lift a room's quarantine."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pool.base.text import printable
from pool.commands.console import AsJson, RedisUrl, ask

if TYPE_CHECKING:
    from redis.asyncio import Redis


def retry(
    room: Annotated[str, typer.Argument(help="The room's name, as LiveKit has it.", envvar="ROOM_NAME")],
    redis_url: RedisUrl = "",
    as_json: AsJson = False,
) -> None:
    """Give a quarantined ROOM to carriers again, with a clean slate.

    A room is quarantined when three calls in it failed, or three carriers died, within ten minutes. Calls that failed
    because LiveKit or the voice service was out of reach do not count.
    Ends with status 1, and changes nothing, when it is not quarantined.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 roompool retry demo
    """
    is_lifted = ask(redis_url, lambda redis: _retry(redis, room))
    if as_json:
        typer.echo(json.dumps({"room": room, "lifted": is_lifted}))
    elif is_lifted:
        typer.echo(f"{printable(room)} is no longer quarantined")
    else:
        typer.echo(f"{printable(room)} is not quarantined", err=True)
    if not is_lifted:
        raise typer.Exit(1)


async def _retry(redis: "Redis", room: str) -> bool:
    from pool.registry import Rooms  # with redis, see console.ask

    return await Rooms(redis).retry(room)
