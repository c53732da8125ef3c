"""`./dev demo`: the command line of the demo. What it does is in `show.py`."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the script: exit status 0, or 1.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one report to stdout, the lines to stderr.")] = False,
    real: Annotated[
        bool, typer.Option("--real", help="Talk to AssemblyAI itself: needs ASSEMBLYAI_API_KEY, and costs money.")
    ] = False,
    record: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep a WAV of each call in this folder.")] = None,
) -> None:
    """Bring up all of roompool on this machine and let three callers talk with it.

    Starts livekit-server, Valkey, a voice simulator, the webhook receiver and two
    workers, and kills one of these in mid-call. Without --once it stays up, with a
    page to talk to the agent yourself, until Ctrl-C.

    LIVEKIT_URL (with LIVEKIT_API_KEY and LIVEKIT_API_SECRET) and REDIS_URL name
    servers to use instead of our own. Settings of roompool (ROOMPOOL_...) in your
    shell are not taken.

    Exit status: 0 all is well, 1 something failed, 2 wrong settings, 130 Ctrl-C.

    Example: ./dev demo --once --record recordings
    """
    try:
        from deploy.local.order import Order  # these two take half a second that --help should not wait for
        from deploy.local.show import run

        leave(run(Order(once=once, as_json=as_json, real=real, recordings=record)))
    except KeyboardInterrupt:
        leave(128 + signal.SIGINT)


def leave(status: int) -> NoReturn:
    """End the process without the interpreter's shutdown, in which the native library may abort after a call."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def main() -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(demo)
    app(prog_name="./dev demo")


if __name__ == "__main__":
    main()
