"""The command `roompool`: finds its verbs by entry point, and loads only the one that is asked for.

Each package brings its own verbs, so none imports upward, and `roompool token` never waits for what `worker` needs.
"""

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

import typer

from pool.base import logs
from pool.base.environment import environment

GROUP = "roompool.commands"

EXIT_CONFIGURATION = 2
"""The command was started with settings or options that cannot be; the same status as a wrong option."""


def main() -> None:
    """Run one verb, and end the process with its status: 0, 1 for a failure, 2 for settings, 130 for Ctrl-C.

    An error that carries `problems`, lines for a person, is a matter of settings, whichever package raised it.
    """
    try:
        logs.configure(variables=environment())
        create_app(_verbs(), asked_for=sys.argv[1:2])()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        problems = getattr(error, "problems", None)
        if problems is None:
            raise
        for problem in problems:
            typer.echo(problem, err=True)
        raise SystemExit(EXIT_CONFIGURATION) from None


def create_app(verbs: Mapping[str, EntryPoint], *, asked_for: list[str]) -> typer.Typer:
    """The command line with the one verb that `asked_for` names, or with all of them when it names none."""
    app = typer.Typer(
        name="roompool",
        help="A voice agent in every LiveKit room: one agent per room, never two, also when a worker dies.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # it would print local variables, tokens among them
    )
    app.callback()(_no_options)  # makes verbs of one command, too
    if asked_for and asked_for[0] in verbs:
        app.command(asked_for[0])(verbs[asked_for[0]].load())
    else:
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


def _no_options() -> None:
    """The command itself takes no options."""
