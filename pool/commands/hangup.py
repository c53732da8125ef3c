"""`roompool hangup ROOM`: end the call in a room."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pool.base.text import printable
from pool.commands.console import AsJson, RedisUrl, ask, until
from pool.commands.lengths import lasting

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from pool.registry import HangUp


def hangup(
    room: Annotated[str, typer.Argument(help="The room's name, as LiveKit has it.", envvar="ROOM_NAME")],
    redis_url: RedisUrl = "",
    wait: Annotated[bool, typer.Option(help="Wait until the agent has left.")] = True,
    limit_s: Annotated[float, typer.Option(min=0.1, max=600, help="Wait so many seconds at most.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Have the agent hang up in ROOM. It stays away until somebody new joins; the callers are not put out.

    Ends with status 1 when nobody is known to be in the room, or when the agent was asked and is still there after
    the limit: the carrier that holds it may have lost Redis, and hears of it when it comes back.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 roompool hangup demo
    """
    answer, is_over = ask(redis_url, lambda redis: _hang_up(redis, room, wait_s=limit_s if wait else 0.0))
    if as_json:
        typer.echo(json.dumps({"room": room, "answer": answer.value, "is_over": is_over}))
    else:
        typer.echo(_told(printable(room), answer.value, is_over=is_over, limit_s=limit_s if wait else 0.0))
    if answer.value == "nobody" or (wait and not is_over):
        raise typer.Exit(1)


async def _hang_up(redis: "Redis", room: str, *, wait_s: float) -> tuple["HangUp", bool]:
    """What came of it, and whether the call is over by now."""
    from pool.registry import HangUp, Rooms  # with redis, see console.ask

    rooms = Rooms(redis)

    async def is_over() -> bool:
        state = await rooms.look(room)
        return state is None or state.hangup_unix_ms is None

    answer = await rooms.hangup(room)
    if answer is not HangUp.ASKED:
        return answer, answer is HangUp.RESTED
    return answer, bool(wait_s) and await until(is_over, limit_s=wait_s, every_s=0.1)


def _told(room: str, answer: str, *, is_over: bool, limit_s: float) -> str:
    if answer == "nobody":
        return f"nobody is known to be in {room}"
    if is_over:
        return f"the call in {room} has ended; whoever joins from now on gets an agent"
    if not limit_s:
        return f"the agent in {room} is asked to hang up"
    return f"the agent in {room} is asked to hang up, and has not within {lasting(round(limit_s * 1000))}"
