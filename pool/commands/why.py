"""`roompool why ROOM`: why there is an agent in a room, or none."""

import asyncio
import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pool.base.text import printable
from pool.commands.console import AsJson, RedisUrl, ask
from pool.commands.sentences import Teller
from pool.commands.verdict import HINTS, verdict

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from pool.journal import Cursor, Decision, DecisionLog
    from pool.registry import RoomState

EVENT_CHARS = 15
"""The width of the column with an event's name."""

AGAIN_S = 0.5
"""Between two attempts to reach a Redis that is away."""


def why(
    room: Annotated[str, typer.Argument(help="The room's name, as LiveKit has it.", envvar="ROOM_NAME")],
    redis_url: RedisUrl = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and print each new line as it comes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say why there is an agent in ROOM, or none, and tell its story: what was decided, when, and on which facts.

    Stories end a day after their last line. Ends with status 1 when nothing is known of the room; with --follow it goes
    on until Ctrl-C, and --json then prints the answer so far in one line, and one more for each that comes.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 roompool why demo --follow
    """
    is_known = ask(redis_url, lambda redis: _answer(redis, room, as_json=as_json, follow=follow))
    if not is_known:
        raise typer.Exit(1)


async def _answer(redis: "Redis", room: str, *, as_json: bool, follow: bool) -> bool:
    """Print what is known, and what comes. Whether anything was known."""
    from pool.journal import DecisionLog  # with redis, see console.ask
    from pool.registry import Carriers, Rooms

    log = DecisionLog(redis)
    story, cursor = await log.read_to(room)
    state, carriers = await Rooms(redis).look(room), await Carriers(redis).list()
    is_known = state is not None or bool(story)
    because = verdict(state, carriers, story)
    teller = Teller()
    if as_json:
        typer.echo(json.dumps(_as_json(room, because, state, [_line_json(one, teller) for one in story])))
    else:
        typer.echo(because)
        typer.echo("" if is_known else HINTS)
        for one in story:
            typer.echo(_line(one, teller))
    if follow:
        await _follow(log, room, cursor, teller, as_json=as_json)
    return is_known


async def _follow(log: "DecisionLog", room: str, cursor: "Cursor", teller: Teller, *, as_json: bool) -> None:
    """Print new lines until cancelled. What Redis does meanwhile is told on stderr, and waited for."""
    from redis.exceptions import RedisError

    from pool.base.outage import fault_of

    is_away = False
    while True:
        try:
            new, cursor = await log.follow(room, cursor)
        except (RedisError, OSError) as error:
            if not is_away:
                typer.echo(f"Redis gives no answer ({fault_of(error)}); waiting for it", err=True)
            is_away = True
            await asyncio.sleep(AGAIN_S)
            continue
        if is_away:
            typer.echo("Redis answers again; what happened meanwhile may be missing", err=True)
        is_away = False
        for one in new:
            typer.echo(json.dumps(_line_json(one, teller)) if as_json else _line(one, teller))


def _line(one: "Decision", teller: Teller) -> str:
    """Local time, the event's name, what it says."""
    at = datetime.fromtimestamp(one.at_unix_ms / 1000).astimezone()
    time = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"
    return f"{time}  {printable(one.event):<{EVENT_CHARS}}  {teller.tell(one)}".rstrip()


def _line_json(one: "Decision", teller: Teller) -> dict[str, Any]:
    return {**asdict(one), "text": teller.tell(one)}


def _as_json(room: str, because: str, state: "RoomState | None", story: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "room": room,
        "sentence": because,
        "state": None if state is None else asdict(state) | {"standing": state.standing.value},
        "story": story,
    }
