"""`./dev bench`: the command line."""

from typing import Annotated

import typer

from deploy.local.bench.options import Options
from deploy.local.bench.rows import NAMES, load
from deploy.local.demo import leave
from deploy.local.formats import Format, format_of


def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Rows; all by default.")] = None,
    repeat: Annotated[int, typer.Option(min=1, max=100, help="Rounds; in each the subjects take turns.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the figures as Markdown tables.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="Name the rows, and end.")] = False,
) -> None:
    """Measure how fast and how small roompool is, beside livekit-agents in the same run.

    Everything is real and on this machine, and nothing else should be: times of a busy machine say little. For the
    comparison neither side has a voice service: both say the same recording. The first run installs livekit-agents
    into an environment of its own.

    Exit status: 0 measured, whatever came of it; 1 a row failed, or this machine could measure none; 2 wrong options.

    Example: ./dev bench join burst --repeat 3
    """
    if list_them:
        for name in NAMES:
            typer.echo(f"{name:<10} {load(name).what}")
        return
    unknown = [name for name in names or () if name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"there is no row {', '.join(unknown)}; they are {', '.join(NAMES)}")
    from deploy.local.bench.campaign import carry_out  # brings servers, which --help can do without

    chosen: Format = format_of(as_json=as_json, as_markdown=as_markdown)
    leave(carry_out(Options(rows=tuple(names or NAMES), repeat=repeat, format=chosen)))


def main() -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(bench)
    app(prog_name="./dev bench")
