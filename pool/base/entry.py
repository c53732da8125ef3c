"""The outermost frame of every command: logging set up, settings errors told to a person, the status of the process."""

import sys
from collections.abc import Callable

from pool.base import logs
from pool.base.environment import environment

EXIT_CONFIGURATION = 2
"""Started with settings or options that cannot be; the same status as a wrong option."""


def launch(command: Callable[[], object]) -> None:
    """Run a command line and end the process with its status: 0, 1 for a failure, 2 for settings, 130 for Ctrl-C.

    An error that carries `problems`, lines for a person, is a matter of settings, whichever package raised it.
    """
    try:
        logs.configure(variables=environment())
        command()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        problems = getattr(error, "problems", None)
        if problems is None:
            raise
        for problem in problems:
            sys.stderr.write(f"{problem}\n")
        raise SystemExit(EXIT_CONFIGURATION) from None


def launch_verb(verb: Callable[..., object], *, prog_name: str) -> None:
    """Run one verb of `roompool` by itself: what `python -m <package>` does."""
    import typer  # not for those who only launch: it is as large as a small program

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(verb)
    launch(lambda: app(prog_name=prog_name))
