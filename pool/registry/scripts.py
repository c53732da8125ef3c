"""The Lua scripts: what they share in front of each verb, sent by its hash and in full when Redis does not know it."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

SHARED = ("_clock", "_room", "_settle", "_carriers")
"""In front of every verb, in this order: each builds on the one before."""


@dataclass(frozen=True, slots=True)
class Script:
    """One verb. Arguments are strings, bytes or numbers; it takes no KEYS (Redis Cluster is not supported)."""

    name: str
    source: str
    sha: str

    async def run(self, redis: Redis, *args: str | int) -> Any:
        """Run it once, and return what it answers.

        Raises:
            redis.exceptions.RedisError: Redis could not be reached in time, or answered with an error.
        """
        execute = cast(Callable[..., Awaitable[Any]], redis.execute_command)  # redis-py leaves it untyped
        try:
            return await execute("EVALSHA", self.sha, 0, *args)
        except NoScriptError:  # Redis restarted or lost its data
            return await execute("EVAL", self.source, 0, *args)

    async def run_each(self, redis: Redis, calls: Sequence[Sequence[str | int]]) -> list[Any]:
        """Run it once for each list of arguments, in one pipeline, and return the answers in that order.

        An error *reply* stands in the list as the exception (so that one room's does not hide the others').

        Raises:
            redis.exceptions.RedisError: Redis could not be reached in time; some, all or none of the calls may have run
        """
        answers = await self._pipe(redis, "EVALSHA", self.sha, calls)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # once after a restart; a second pipeline is cheaper than asking each time
            again = await self._pipe(redis, "EVAL", self.source, [calls[index] for index in unknown])
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        return answers

    async def _pipe(self, redis: Redis, command: str, script: str, calls: Sequence[Sequence[str | int]]) -> list[Any]:
        async with redis.pipeline(transaction=False) as pipeline:
            for args in calls:
                pipeline.execute_command(command, script, 0, *args)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers


def load(name: str) -> Script:
    """Read a verb from the package's `lua/` folder."""
    folder = resources.files(__package__) / "lua"
    source = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in (*SHARED, name))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
