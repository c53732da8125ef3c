"""`./dev chaos`: break what can break, and see from inside the rooms whether the promises hold."""

import secrets
from typing import Annotated

import typer

from deploy.local.chaos.options import Options
from deploy.local.demo import leave
from deploy.local.formats import format_of, settings_of


def chaos(
    fault: Annotated[list[str] | None, typer.Option(help="A fault's name. Repeatable; all by default.")] = None,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Trials of each.")] = 3,
    seed: Annotated[str, typer.Option(help="What random choices are drawn from; a new one by default.")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A variable of receiver and workers. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the table for a document.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="Name the faults, and end.")] = False,
) -> None:
    """Break roompool on purpose, again and again, and measure from inside the rooms what callers notice.

    Everything is real and on this machine: livekit-server, Valkey, receiver, workers, and callers with ears; only
    the voice is simulated. Network faults need root and iproute2, and are left out where they cannot be.

    Exit status: 0 every promise was kept, 1 one was broken (its story and logs are kept, and named), 2 wrong options.

    Example: ./dev chaos --fault carrier-killed --fault worker-killed --trials 50
    """
    from deploy.local.chaos.faults import ALL, BY_NAME  # brings the native library, which --help can do without

    if list_them:
        for one in ALL:
            typer.echo(f"{one.name:<20} {one.what}")
        return
    unknown = [name for name in fault or () if name not in BY_NAME]
    if unknown:
        raise typer.BadParameter(f"there is no fault {', '.join(unknown)}; they are {', '.join(BY_NAME)}")

    options = Options(
        faults=tuple(fault or BY_NAME),
        trials=trials,
        seed=seed or secrets.token_hex(4),
        format=format_of(as_json=as_json, as_markdown=as_markdown),
        settings=settings_of(set_),
    )
    from deploy.local.chaos.campaign import carry_out

    leave(carry_out(options))


def main() -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(chaos)
    app(prog_name="./dev chaos")
