"""`roompool why ROOM`: why there is an agent in a room, or none."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, assert_never

import typer

from pool.base.text import printable
from pool.commands.console import AsJson, RedisUrl, ask, count_of, lasting
from pool.commands.ps import state_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from pool.journal import Decision
    from pool.registry import CarrierSeen, RoomState

UNKNOWN = "No webhook has named this room."

HINTS = """\
Names are matched letter by letter, upper and lower case apart.
Does LiveKit's configuration name the receiver under webhook.urls, and does its log show deliveries?
Does ROOMPOOL_ROOMS, in the receiver and the workers, let this room have an agent?
Do the receiver, the workers and this command use the same REDIS_URL?"""


def why(
    room: Annotated[str, typer.Argument(help="The room's name, as LiveKit has it.", envvar="ROOM_NAME")],
    redis_url: RedisUrl = "",
    as_json: AsJson = False,
) -> None:
    """Say where ROOM stands and tell its story: what was decided, when, and on which facts.

    Stories end a day after their last line. Ends with status 1 when nothing is known of the room.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 roompool why demo
    """
    state, carriers, story = ask(redis_url, lambda redis: _read(redis, room))
    is_known = state is not None or bool(story)
    sentence = describe(state, carriers) if is_known else UNKNOWN
    if as_json:
        typer.echo(json.dumps(_as_json(room, sentence, state, story)))
    else:
        typer.echo(sentence)
        typer.echo("" if is_known else HINTS)
        for line in _lines(story):
            typer.echo(line)
    if not is_known:
        raise typer.Exit(1)


async def _read(redis: "Redis", room: str) -> tuple["RoomState | None", list["CarrierSeen"], list["Decision"]]:
    from pool.journal import DecisionLog  # with redis, see console.ask
    from pool.registry import Carriers, Rooms

    return await Rooms(redis).look(room), await Carriers(redis).list(), await DecisionLog(redis).read(room)


def describe(state: "RoomState | None", carriers: list["CarrierSeen"]) -> str:
    """Where a room stands, in a sentence or two. `None`: it had a story, and its state has expired."""
    from pool.registry import Standing

    if state is None:
        return "Nobody is noted in this room, and it has no owner."
    now = state.now_unix_ms
    callers = count_of(len(state.callers), "caller")
    match state.standing:
        case Standing.OWNED:
            left_ms = (state.until_unix_ms or now) - now
            return f"Owned by {state.owner}, fence {state.fence}; the lease ends in {lasting(left_ms)}; {callers}."
        case Standing.LAPSED:
            over_ms = now - (state.until_unix_ms or now)
            return (
                f"{state.owner}, fence {state.fence}, owned it until {lasting(over_ms)} ago, may come back; {callers}."
            )
        case Standing.WAITING:
            waited_ms = now - (state.queued_unix_ms or now)
            return f"Waiting for {lasting(waited_ms)}; {callers}. {_who_could_take_it(carriers)}"
        case Standing.BACKING_OFF:
            tries = len(state.attempts) + len(state.excused)
            return f"Next try in {_until_due(state)}, after {count_of(tries, 'failed attempt')}; {callers}."
        case Standing.HELD_BACK:
            return f"Held back for {_until_due(state)}: Redis lost its data, an owner may come back first; {callers}."
        case Standing.RESTED:
            return f"Resting: the agent has ended the call. A caller who joins from now on wakes it; {callers}."
        case Standing.QUARANTINED:
            since_ms = now - (state.quarantined_unix_ms or now)
            return (
                f"Quarantined for {lasting(since_ms)}; {callers}. See below why they failed; `roompool retry` lifts it."
            )
        case Standing.ABSENT:
            return "Nobody is noted as present; the next caller brings an agent."
        case Standing.FINISHED:
            return f"This life of the room ({state.sid}) is over."
        case _:
            assert_never(state.standing)


def _until_due(state: "RoomState") -> str:
    return lasting(max(0, (state.due_unix_ms or 0) - state.now_unix_ms))


def _who_could_take_it(carriers: list["CarrierSeen"]) -> str:
    """Why a waiting room still waits, as far as carriers tell."""
    states = [state_of(seen) for seen in carriers]
    alive = [state for state in states if state != "silent"]
    if not alive:
        return "No carrier is alive: start one with `roompool worker`."
    free = alive.count("serving")
    if free:
        return f"{count_of(free, 'carrier')} with a free slot; one should take it within a second."
    return f"No carrier has a free slot: {', '.join(sorted(alive))}."


def _lines(story: list["Decision"]) -> list[str]:
    """One line each: local time, what happened, its facts."""
    lines = []
    for decision in story:
        at = datetime.fromtimestamp(decision.at_unix_ms / 1000).astimezone()
        facts = "  ".join(f"{printable(name)}={printable(value)}" for name, value in decision.facts.items())
        lines.append(
            f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}  {printable(decision.event):<14}  {facts}".rstrip()
        )
    return lines


def _as_json(room: str, sentence: str, state: "RoomState | None", story: list["Decision"]) -> dict[str, Any]:
    return {
        "room": room,
        "sentence": sentence,
        "state": None if state is None else asdict(state) | {"standing": state.standing.value},
        "story": [asdict(decision) for decision in story],
    }
