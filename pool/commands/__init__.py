"""The command `roompool`: finds its verbs by entry point, and loads only the one that is asked for.

Each package brings its own verbs, so none imports upward, and `roompool token` never waits for what `worker` needs.
"""

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer

from pool.base.entry import launch

GROUP = "roompool.commands"


def main() -> None:
    """Run one verb, and end the process with its status, as `pool.base.entry.launch` says."""
    launch(lambda: create_app(_verbs(), asked_for=sys.argv[1:2])())


def create_app(verbs: Mapping[str, EntryPoint], *, asked_for: list[str]) -> typer.Typer:
    """The command line with the one verb that `asked_for` names, or with all of them when it names none."""
    app = typer.Typer(
        name="roompool",
        help="A voice agent in every LiveKit room: one agent per room, never two, also when a worker dies.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # it would print local variables, tokens among them
    )
    app.callback()(_options)  # makes verbs of one command, too
    if asked_for and asked_for[0] in verbs:
        app.command(asked_for[0])(verbs[asked_for[0]].load())
    elif asked_for != ["--version"]:
        for name, verb in sorted(verbs.items()):
            app.command(name)(_load_or_stub(verb))
    return app


def _verbs() -> dict[str, EntryPoint]:
    return {verb.name: verb for verb in entry_points(group=GROUP)}


def _load_or_stub(verb: EntryPoint) -> Callable[..., object]:
    """The verb's function; for one that cannot be loaded, a line in the list of verbs that says why."""
    try:
        loaded: Callable[..., object] = verb.load()
    except Exception as error:  # noqa: BLE001 - a broken verb must not take the help of the others with it
        reason = f"cannot be loaded: {type(error).__name__}: {error}"

        def stub() -> None:
            raise typer.Exit(1)

        stub.__doc__ = reason
        return stub
    return loaded


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"roompool {version('roompool')}")
        raise typer.Exit


def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """What the command itself takes, whichever verb follows."""
