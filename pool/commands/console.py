"""What the verbs that read room state share: the way to Redis, and how times, counts and tables look to a person."""

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

    url = redis_url or environment().get("REDIS_URL") or DEFAULT_REDIS_URL
    try:
        return asyncio.run(_answer(url, question))
    except (RedisError, OSError) as error:
        typer.echo(f"Redis at {shown(url)} gives no answer ({type(error).__name__}). Is REDIS_URL right?", err=True)
        raise typer.Exit(1) from None


async def _answer(url: str, question: Callable[["Redis"], Awaitable[T]]) -> T:
    from pool.registry.connect import lease_redis  # with redis, see above

    redis = lease_redis(url)
    try:
        return await question(redis)
    finally:
        await redis.aclose()


def lasting(ms: int) -> str:
    """A length of time for people: 0.3 s, 41 s, 12 min, 3.5 h, 2 d."""
    seconds = ms / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} d"


def count_of(number: int, noun: str) -> str:
    """1 caller, 2 callers."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def columns(rows: list[tuple[str, ...]]) -> str:
    """Rows, the first one the heading, in columns as wide as they need to be."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
