"""`roompool drain WORKER`: let a worker take no more calls."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pool.base.text import printable
from pool.commands.console import AsJson, RedisUrl, ask, until
from pool.commands.lengths import count_of, lasting
from pool.commands.ps import WorkerSeen, workers_of
from pool.commands.states import CarrierState, is_busy, state_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from pool.registry import CarrierSeen

LOOK_EVERY_S = 0.5


def drain(
    worker: Annotated[str, typer.Argument(help="Its id as `roompool ps` has it, the beginning of it, or its host.")],
    redis_url: RedisUrl = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it holds no call.")] = False,
    limit_s: Annotated[float, typer.Option(min=0.1, max=86_400, help="Wait so many seconds at most.")] = 3600.0,
    as_json: AsJson = False,
) -> None:
    """Let WORKER take no more calls: those it has end by themselves, or are handed over to other workers.

    It stays up, idle, until it is told to end. Drained once, it stays so for as long as it runs (a day at most).
    Ends with status 1 when no worker, or more than one, is meant, and when it still holds calls after the limit.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 roompool drain worker-7f --wait --limit-s 120
    """
    known, meant, is_empty = ask(redis_url, lambda redis: _drain(redis, worker, limit_s=limit_s if wait else 0.0))
    if len(meant) != 1:
        typer.echo(_which(worker, meant, known), err=True)
        raise typer.Exit(1)
    (one,) = meant
    if as_json:
        typer.echo(json.dumps({"worker": one.id, "carriers": len(one.carriers), "is_empty": is_empty}))
    elif wait and not is_empty:
        typer.echo(f"{printable(one.id)} still holds calls after {lasting(round(limit_s * 1000))}", err=True)
    elif is_empty:
        typer.echo(f"{printable(one.id)} is drained, and holds no call")
    else:
        typer.echo(f"{printable(one.id)} drains: {count_of(one.leases, 'call')} in {_carriers(one)}")
    if wait and not is_empty:
        raise typer.Exit(1)


def named(word: str, workers: Sequence[WorkerSeen]) -> list[WorkerSeen]:
    """The workers that a word can mean: the one of that id, else living ones, by the beginning of the id or by host.

    A worker that is silent has ended, most likely, and cannot be told anything: it is meant by its whole id alone.
    """
    exact = [worker for worker in workers if worker.id == word]
    if exact:
        return exact
    living = [worker for worker in workers if worker.state is not CarrierState.SILENT]
    return [worker for worker in living if word and (worker.id.startswith(word) or worker.host == word)]


async def _drain(redis: "Redis", word: str, *, limit_s: float) -> tuple[list[WorkerSeen], list[WorkerSeen], bool]:
    """The workers that there are, and that are meant; and if that is one, whether it is empty by now.

    Others are told nothing.
    """
    from pool.registry import Carriers  # with redis, see console.ask

    carriers = Carriers(redis)
    known = workers_of(await carriers.list())
    meant = named(word, known)
    if len(meant) != 1:
        return known, meant, False
    (worker,) = meant
    await carriers.drain(worker.id)
    progress = _Progress(worker.id)

    async def is_empty() -> bool:
        return progress.is_over(await carriers.list())

    if not limit_s:
        return known, meant, not any(is_busy(seen) for seen in worker.carriers)
    return known, meant, await until(is_empty, limit_s=limit_s, every_s=LOOK_EVERY_S)


class _Progress:
    """Says, whenever it changes, what a worker still holds."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._calls: int | None = None

    def is_over(self, carriers: Sequence["CarrierSeen"]) -> bool:
        """Whether none of its carriers holds a call. One that is silent or gone holds none worth waiting for."""
        its = (seen for seen in carriers if seen.carrier.worker == self._worker)
        living = (seen for seen in its if state_of(seen) is not CarrierState.SILENT)
        calls = sum(max(seen.leases, seen.carrier.in_use) for seen in living)
        if calls and calls != self._calls:
            typer.echo(f"{count_of(calls, 'call')} left", err=True)
        self._calls = calls
        return not calls


def _which(word: str, meant: Sequence[WorkerSeen], known: Sequence[WorkerSeen]) -> str:
    for worker in known:
        if not meant and word in [seen.carrier.id for seen in worker.carriers]:
            return f"{printable(word)} is a carrier of the worker {printable(worker.id)}, which drains as a whole"
    if not meant:
        return f"no worker is called {printable(word)}: `roompool ps` lists them"
    lines = [f"  {printable(worker.id)}  {printable(worker.host)}  {_carriers(worker)}" for worker in meant]
    return "\n".join([f"{printable(word)} may be any of these:", *lines])


def _carriers(worker: WorkerSeen) -> str:
    return count_of(len(worker.carriers), "carrier")
