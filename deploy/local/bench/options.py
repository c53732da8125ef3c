"""What was asked for on the command line. Light: nothing that it takes to do it."""

from dataclasses import dataclass

from deploy.local.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which rows, by name, in how many rounds, and told how."""

    rows: tuple[str, ...]
    repeat: int
    format: Format
