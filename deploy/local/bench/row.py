"""What a file in `rows/` offers: a `Row`, and what it is given to run with."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.bench.figures import Measured, Verdict


class CannotMeasure(RuntimeError):
    """This machine, or this environment, cannot run the row; the text says why and what helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run of `./dev bench`, as every row sees it."""

    run_dir: Path
    """For servers, configuration and logs; a row makes a folder of its own in it."""
    binary: Path
    """livekit-server."""
    repeat: int
    """Rounds: in each the subjects take turns, so that the machine's drift hits all of them."""
    tell: Callable[[str], None]
    """A line of progress for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table."""

    name: str
    """As on the command line."""
    what: str
    """One line: what is measured."""
    run: Callable[[Bench], Awaitable[Sequence[Measured]]]
    """Raises CannotMeasure."""
    judge: Callable[[Sequence[Measured]], Sequence[Verdict]]
    """Pure."""
    needs_agents: bool = False
    """Whether livekit-agents has to be installed."""
