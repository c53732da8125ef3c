"""What was asked for on the command line. Light: nothing that it takes to do it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How many calls are looked at, for how long, and how it is told.

    Attributes:
        seconds: Looked at twice: once for the threads, undisturbed, and once more by py-spy.
        settings: Further variables of the worker, such as one to compare with its default.
        speaking: The agent speaks without end; else it is silent once it has said its greeting.
    """

    calls: int
    seconds: float
    speaking: bool
    as_json: bool
    settings: Mapping[str, str] = field(default_factory=dict)
