"""`roompool ps`: who carries calls, which rooms have an agent, and which wait for one."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pool.base.text import printable, shortened
from pool.commands.console import AsJson, RedisUrl, ask, columns, count_of, lasting

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from pool.registry import CarrierSeen, RoomSummary

SILENT_AFTER_MS = 10_000
"""Carriers beat every two seconds; one that missed five is most likely gone."""

ROOM_NAME_CHARS = 48
"""In the table. One name may be 4 KiB long, and every line is padded to the longest; `--json` has it whole."""


def ps(
    redis_url: RedisUrl = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many rooms of each sort.")] = 200,
    as_json: AsJson = False,
) -> None:
    """List the carriers with their calls, and the rooms that are owned, wait or are quarantined, with ages.

    Rooms that rest, are empty or are over are not listed; ask for one by name with `roompool why`.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 roompool ps --json
    """
    carriers, rooms, counters = ask(redis_url, lambda redis: _read(redis, limit))
    if as_json:
        typer.echo(json.dumps(_as_json(carriers, rooms, counters)))
        return
    if not carriers:
        typer.echo("no carrier: start one with `roompool worker`")
    else:
        typer.echo(columns([CARRIER_HEADING, *map(_carrier_row, carriers)]))
    typer.echo()
    if not rooms:
        typer.echo("no room is owned, waits or is quarantined")
    else:
        typer.echo(columns([ROOM_HEADING, *map(_room_row, rooms)]))
    if set_aside := counters.get("set_aside_rooms"):
        typer.echo(f"\n{count_of(set_aside, 'room state')} could not be read and lies under set_aside: for a day")
    if rebuilt := counters.get("keys_rebuilt"):
        typer.echo(f"\n{count_of(rebuilt, 'key')} of another type replaced: does something else write to this Redis?")
    if set_back := counters.get("clocks_set_back"):
        typer.echo(f"\nRedis' clock was set back {count_of(set_back, 'time')}: does its host keep time?")


CARRIER_HEADING = ("CARRIER", "WORKER", "HOST", "PID", "REVISION", "CALLS", "STATE", "BEAT")
ROOM_HEADING = ("ROOM", "STATE", "FOR", "CALLERS", "ATTEMPTS", "CARRIER", "FENCE", "SID")


async def _read(redis: "Redis", limit: int) -> tuple[list["CarrierSeen"], list["RoomSummary"], dict[str, int]]:
    from pool.registry import Carriers, Rooms  # with redis, see console.ask

    rooms = Rooms(redis)
    return await Carriers(redis).list(), await rooms.rooms(limit), await rooms.counters()


def state_of(seen: "CarrierSeen") -> str:
    """What a carrier does, in one word."""
    if seen.beat_age_ms > SILENT_AFTER_MS:
        return "silent"
    if seen.cordoned:
        return "cordoned"
    if seen.carrier.draining:
        return "draining"
    return "full" if seen.leases >= seen.carrier.capacity else "serving"


def _carrier_row(seen: "CarrierSeen") -> tuple[str, ...]:
    carrier = seen.carrier
    return (
        printable(carrier.id),
        printable(carrier.worker) or "-",
        printable(carrier.host) or "-",
        str(carrier.pid or "-"),
        printable(carrier.revision) or "-",
        f"{seen.leases}/{carrier.capacity}",
        state_of(seen),
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


def _as_json(carriers: list["CarrierSeen"], rooms: list["RoomSummary"], counters: dict[str, int]) -> dict[str, Any]:
    return {
        "carriers": [
            asdict(seen.carrier)
            | {
                "state": state_of(seen),
                "leases": seen.leases,
                "cordoned": seen.cordoned,
                "beat_age_ms": seen.beat_age_ms,
            }
            for seen in carriers
        ],
        "rooms": [asdict(room) | {"standing": room.standing.value} for room in rooms],
        "counters": counters,
    }
