"""What was asked for on the command line. Light: nothing that it takes to do it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.local.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which faults, by name, how often, from which seed, and told how."""

    faults: tuple[str, ...]
    trials: int
    seed: str
    format: Format
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further variables of receiver and workers, such as an optimisation that is to be off."""
