"""What was asked for on the command line. Light: nothing that it takes to do it."""

import enum
from dataclasses import dataclass

import typer


class Format(enum.Enum):
    """How the figures are told."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def format_of(*, as_json: bool, as_markdown: bool) -> Format:
    """What the two options of a command line ask for.

    Raises:
        typer.BadParameter: both.
    """
    if as_json and as_markdown:
        raise typer.BadParameter("--json or --markdown, not both")
    return Format.JSON if as_json else Format.MARKDOWN if as_markdown else Format.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which faults, by name, how often, from which seed, and told how."""

    faults: tuple[str, ...]
    trials: int
    seed: str
    format: Format
