"""How figures are told, and which settings they are of: options that several commands of `./dev` share."""

import enum
from collections.abc import Sequence

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


def settings_of(pairs: Sequence[str] | None) -> dict[str, str]:
    """What `--set NAME=VALUE` asks for.

    Raises:
        typer.BadParameter: one is no such pair, or a name comes twice.
    """
    settings = dict(pair.split("=", 1) for pair in pairs or () if "=" in pair)
    if len(settings) != len(pairs or ()):
        raise typer.BadParameter("--set takes NAME=VALUE, each name once")
    return settings
