"""What the verbs that read room state share: the way to Redis, waiting for it to change, and how tables look."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pool.base.addresses import shown
from pool.base.environment import environment

if TYPE_CHECKING:
    from redis.asyncio import Redis

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"

RedisUrl = Annotated[
    str,
    typer.Option(
        "--redis-url",
        envvar="REDIS_URL",
        show_default=DEFAULT_REDIS_URL,
        help="The Redis that the receiver and all workers share.",
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]

T = TypeVar("T")


def ask(redis_url: str, question: Callable[["Redis"], Awaitable[T]]) -> T:
    """Ask Redis and return its answer.

    Args:
        redis_url: As given on the command line or in the environment; empty: from `.env`, else the local default.

    Raises:
        SettingsInvalid: the address is none.
        typer.Exit: Redis cannot be reached or refuses us; a line on stderr has said so.
    """
    from redis.exceptions import RedisError  # redis takes a fifth of a second, which --help can do without

    from pool.base.outage import cure_of, fault_of

    url = redis_url or environment().get("REDIS_URL") or DEFAULT_REDIS_URL
    try:
        return asyncio.run(_answer(url, question))
    except BrokenPipeError:  # nobody reads what we print any more
        raise
    except (RedisError, OSError) as error:
        typer.echo(f"Redis at {shown(url)} gives no answer ({fault_of(error)}): {cure_of(error)}", err=True)
        raise typer.Exit(1) from None


async def _answer(url: str, question: Callable[["Redis"], Awaitable[T]]) -> T:
    from pool.registry.connect import lease_redis  # with redis, see above

    redis = lease_redis(url)
    try:
        return await question(redis)
    finally:
        await redis.aclose()


async def until(answer: Callable[[], Awaitable[bool]], *, limit_s: float, every_s: float = 0.25) -> bool:
    """Ask again and again until the answer is yes; False after `limit_s`. A Redis that is away meanwhile says no.

    Redis could tell of changes itself, but only where its configuration lets it.
    """
    from redis.exceptions import RedisError  # see above

    is_away = False
    try:
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    if await answer():
                        return True
                    is_away = False
                except (RedisError, OSError):
                    if not is_away:
                        typer.echo("Redis gives no answer; waiting for it", err=True)
                    is_away = True
                await asyncio.sleep(every_s)
    except TimeoutError:
        return False


def columns(rows: list[tuple[str, ...]]) -> str:
    """Rows, the first one the heading, in columns as wide as they need to be."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
