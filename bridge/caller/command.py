"""`roompool call ROOM`: be a caller for a minute, and say what was heard."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from bridge.caller.errors import BadSettings
from bridge.caller.order import Order
from bridge.settings import LiveKitSettings, problems_of


def call(
    room: Annotated[str, typer.Argument(help="The room to call.", envvar="ROOM_NAME")],
    turns: Annotated[int, typer.Option(min=0, help="How often the caller speaks and waits for a reply.")] = 1,
    barge_in: Annotated[bool, typer.Option("--barge-in", help="Then interrupt a reply, and time its end.")] = False,
    seconds: Annotated[float, typer.Option(min=0, help="Stay in the room for at least this long.")] = 0.0,
    wav: Annotated[Path | None, typer.Option(help="Say this WAV file (16 bit, any rate) instead of our own.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write a stereo WAV: caller left, agent right.")] = None,
    identity: Annotated[str, typer.Option(help="The caller's identity; random by default.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON report instead of a line a step.")] = False,
    url: Annotated[str, typer.Option(envvar="LIVEKIT_URL", help="LiveKit, ws:// or wss://.")] = "",
    key: Annotated[str, typer.Option(envvar="LIVEKIT_API_KEY", help="Its API key.")] = "",
    secret: Annotated[str, typer.Option(envvar="LIVEKIT_API_SECRET", help="The key's secret.")] = "",
) -> None:
    """Call a room as a person would: join, listen, speak, hang up, and report what was really heard.

    Exit status 0: the agent was heard and did what was asked; 1: it did not, and a line says what; 2: bad settings.

    Example: roompool call demo --turns 2 --barge-in --record demo.wav
    """
    livekit = read_settings(LIVEKIT_URL=url, LIVEKIT_API_KEY=key, LIVEKIT_API_SECRET=secret)
    order = Order(
        room=room,
        turns=turns,
        barge_in=barge_in,
        stay_s=seconds,
        wav=wav,
        record=record,
        identity=identity,
        as_json=as_json,
        url=livekit.livekit_url,
        key=livekit.livekit_api_key,
        secret=livekit.livekit_api_secret.get_secret_value(),
    )
    from bridge.caller.place import place  # brings the native library, which --help can do without

    leave(place(order))


def read_settings(**given: str) -> LiveKitSettings:
    """The variables that were given as options, and for the others the environment and `.env`.

    Raises:
        BadSettings: with a line for each that is missing or wrong.
    """
    options: dict[str, Any] = {variable: value for variable, value in given.items() if value}
    try:
        return LiveKitSettings(_env_file=".env", **options)
    except ValidationError as error:
        raise BadSettings(problems_of(LiveKitSettings, error)) from None  # the cause repeats what was set


def leave(code: int) -> None:
    """End the process without the interpreter's shutdown, in which the native library may abort after a call."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
