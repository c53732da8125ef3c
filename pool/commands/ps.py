"""`roompool ps`: which workers carry calls, which rooms have an agent, and which wait for one."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pool.base.text import printable, shortened
from pool.commands.console import AsJson, RedisUrl, ask, columns
from pool.commands.lengths import count_of, lasting
from pool.commands.states import CarrierState, state_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from pool.registry import CarrierSeen, RoomSummary

ROOM_NAME_CHARS = 48
"""In the table. One name may be 4 KiB long, and every line is padded to the longest; `--json` has it whole."""

WORKER_HEADING = ("WORKER, CARRIER", "HOST", "PID", "REVISION", "CALLS", "STANDS BY", "STATE", "BEAT")
ROOM_HEADING = ("ROOM", "STATE", "FOR", "CALLERS", "ATTEMPTS", "CARRIER", "FENCE", "SID")


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker, by what its carriers say."""

    id: str
    carriers: tuple["CarrierSeen", ...]

    @property
    def state(self) -> CarrierState:
        """That of the carrier which does most."""
        return max(map(state_of, self.carriers), key=list(CarrierState).index)

    @property
    def leases(self) -> int:
        return sum(seen.leases for seen in self.carriers)

    @property
    def reservations(self) -> int:
        return sum(seen.reservations for seen in self.carriers)

    @property
    def capacity(self) -> int:
        """Of those that are alive."""
        return sum(seen.carrier.capacity for seen in self.carriers if state_of(seen) is not CarrierState.SILENT)

    @property
    def host(self) -> str:
        return self.carriers[0].carrier.host

    @property
    def revision(self) -> str:
        return self.carriers[0].carrier.revision

    @property
    def started_unix_ms(self) -> int:
        return max(seen.carrier.worker_started_unix_ms or seen.carrier.started_unix_ms for seen in self.carriers)


def workers_of(carriers: "Sequence[CarrierSeen]") -> list[WorkerSeen]:
    """Carriers by their worker: the worker that was started last comes first, its carriers by their ids.

    Without those of which nothing more will come: cordoned, which a parent does to a dead one, and silent.
    """
    by_worker: dict[str, list[CarrierSeen]] = {}
    for seen in carriers:
        if seen.cordoned and state_of(seen) is CarrierState.SILENT:
            continue
        by_worker.setdefault(seen.carrier.worker or seen.carrier.id, []).append(seen)
    workers = [
        WorkerSeen(
            name, tuple(sorted(members, key=lambda seen: (state_of(seen) is CarrierState.SILENT, seen.carrier.id)))
        )
        for name, members in by_worker.items()
    ]
    return sorted(workers, key=lambda worker: (-worker.started_unix_ms, worker.id))


def ps(
    redis_url: RedisUrl = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many rooms of each sort.")] = 200,
    as_json: AsJson = False,
) -> None:
    """List the workers with their carriers and calls, and the rooms that are owned, wait or are quarantined, with ages.

    A worker or carrier is serving, full, draining, drained (and empty), cordoned (gets no more rooms) or silent (not
    heard of for ten seconds). STANDS BY counts the calls that it was asked to take over.
    Rooms that rest, are empty or are over are not listed; ask for one by name with `roompool why`.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 roompool ps --json
    """
    carriers, rooms, counters = ask(redis_url, lambda redis: _read(redis, limit))
    workers = workers_of(carriers)
    if as_json:
        typer.echo(json.dumps(_as_json(workers, rooms, counters)))
        return
    if not workers:
        typer.echo("no worker: start one with `roompool worker`")
    else:
        rows = [row for worker in workers for row in _worker_rows(worker)]
        typer.echo(columns([WORKER_HEADING, *rows]))
    typer.echo()
    if not rooms:
        typer.echo("no room is owned, waits or is quarantined")
    else:
        typer.echo(columns([ROOM_HEADING, *map(_room_row, rooms)]))
    for remark in _remarks(counters):
        typer.echo(f"\n{remark}")


async def _read(redis: "Redis", limit: int) -> tuple[list["CarrierSeen"], list["RoomSummary"], dict[str, int]]:
    from pool.registry import Carriers, Rooms  # with redis, see console.ask

    rooms = Rooms(redis)
    return await Carriers(redis).list(), await rooms.rooms(limit), await rooms.counters()


def _worker_rows(worker: WorkerSeen) -> list[tuple[str, ...]]:
    """The worker, and below it its carriers."""
    head = (
        printable(worker.id),
        printable(worker.host) or "-",
        "",
        printable(worker.revision) or "-",
        f"{worker.leases}/{worker.capacity}",
        str(worker.reservations or "-"),
        worker.state.value,
        "",
    )
    return [head, *map(_carrier_row, worker.carriers)]


def _carrier_row(seen: "CarrierSeen") -> tuple[str, ...]:
    return (
        f"  {printable(seen.carrier.id)}",
        "",
        str(seen.carrier.pid or "-"),
        "",
        f"{seen.leases}/{seen.carrier.capacity}",
        str(seen.reservations or "-"),
        state_of(seen).value,
        f"{lasting(seen.beat_age_ms)} ago",
    )


def _room_row(room: "RoomSummary") -> tuple[str, ...]:
    ages = [age for age in (room.quarantined_ms, room.waited_ms, room.held_ms) if age is not None]
    return (
        shortened(printable(room.room), ROOM_NAME_CHARS),
        room.standing.value,
        lasting(ages[0]) if ages else "-",
        str(room.callers),
        str(room.attempts),
        printable(room.owner) if room.owner else "-",
        str(room.fence or "-"),
        printable(room.sid),
    )


def _remarks(counters: dict[str, int]) -> list[str]:
    """What an operator should know of the Redis itself."""
    remarks = {
        "set_aside_rooms": ("room state", "could not be read and lies under set_aside: for a day"),
        "keys_rebuilt": ("key", "of another type replaced: does something else write to this Redis?"),
    }
    told = [f"{count_of(counters[name], noun)} {what}" for name, (noun, what) in remarks.items() if counters.get(name)]
    if set_back := counters.get("clocks_set_back"):
        told.append(f"Redis' clock was set back {count_of(set_back, 'time')}: does its host keep time?")
    return told


def _as_json(workers: list[WorkerSeen], rooms: list["RoomSummary"], counters: dict[str, int]) -> dict[str, Any]:
    return {
        "workers": [
            {
                "id": worker.id,
                "host": worker.host,
                "revision": worker.revision,
                "started_unix_ms": worker.started_unix_ms,
                "state": worker.state.value,
                "capacity": worker.capacity,
                "leases": worker.leases,
                "reservations": worker.reservations,
                "carriers": [seen.carrier.id for seen in worker.carriers],
            }
            for worker in workers
        ],
        "carriers": [
            asdict(seen.carrier)
            | {
                "state": state_of(seen).value,
                "leases": seen.leases,
                "reservations": seen.reservations,
                "cordoned": seen.cordoned,
                "drained": seen.drained,
                "beat_age_ms": seen.beat_age_ms,
            }
            for worker in workers
            for seen in worker.carriers
        ],
        "rooms": [asdict(room) | {"standing": room.standing.value} for room in rooms],
        "counters": counters,
    }
