"""`./dev profile`: the command line. What it does is in `run.py`."""

from typing import Annotated

import typer

from deploy.local.demo import leave
from deploy.local.formats import settings_of
from deploy.local.profile.options import Options


def profile(
    calls: Annotated[int, typer.Option(min=1, max=64, help="Callers, all at one carrier.")] = 8,
    seconds: Annotated[float, typer.Option(min=1, max=120, help="For how long the threads are looked at.")] = 10.0,
    speaking: Annotated[bool, typer.Option("--speaking", help="The agent speaks without end.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A variable of the worker's. Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Show where the CPU of one carrier goes: by thread, as the kernel counts it, and by function, as py-spy sees it.

    Brings up livekit-server, Valkey, the receiver and one worker of one carrier, whose voice is a recording in its
    own process. The threads are counted first, undisturbed, and py-spy looks for as long again.

    Exit status: 0 done, 1 something did not come up, 2 wrong options.

    Example: ./dev profile --calls 16 --speaking --set ROOMPOOL_NARROW_EVENTS=0
    """
    settings = settings_of(set_)
    from deploy.local.profile.run import carry_out  # brings the native library, which --help can do without

    leave(carry_out(Options(calls=calls, seconds=seconds, speaking=speaking, as_json=as_json, settings=settings)))


def main() -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(profile)
    app(prog_name="./dev profile")
