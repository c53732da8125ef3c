"""What was asked for on the command line. Light: nothing that it takes to do it."""

import enum
from dataclasses import dataclass


class Format(enum.Enum):
    """How the figures are told."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which faults, by name, how often, from which seed, and told how."""

    faults: tuple[str, ...]
    trials: int
    seed: str
    format: Format
