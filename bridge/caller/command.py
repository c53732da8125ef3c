"""`roompool call ROOM`: be a caller for a minute, and say what was heard."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from dotenv import dotenv_values

from bridge.caller.errors import BadSettings
from bridge.caller.order import Order


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
    written = dotenv_values(".env")
    url = url or written.get("LIVEKIT_URL") or ""
    key = key or written.get("LIVEKIT_API_KEY") or ""
    secret = secret or written.get("LIVEKIT_API_SECRET") or ""
    if problems := missing(url, key, secret):
        raise BadSettings(problems)
    from bridge.caller.place import place  # brings the native library, which --help can do without

    leave(place(Order(room, turns, barge_in, seconds, wav, record, identity, as_json, url, key, secret)))


def missing(url: str, key: str, secret: str) -> list[str]:
    """What is wrong with the settings, a line each: the variable, the fault, the cure."""
    problems = []
    if not url.startswith(("ws://", "wss://")):
        fault = "is not an address of LiveKit" if url else "is not set"
        problems.append(f"LIVEKIT_URL: {fault}. Cure: the address of your LiveKit, beginning with ws:// or wss://.")
    if not key:
        problems.append("LIVEKIT_API_KEY: is not set. Cure: an API key from LiveKit's configuration.")
    if not secret:
        problems.append("LIVEKIT_API_SECRET: is not set. Cure: the secret of that API key.")
    return problems


def leave(code: int) -> None:
    """End the process without the interpreter's shutdown, in which the native library may abort after a call."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
