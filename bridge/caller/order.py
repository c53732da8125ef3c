"""What a call was ordered to be."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line."""

    room: str
    turns: int
    barge_in: bool
    stay_s: float
    wav: Path | None
    record: Path | None
    identity: str
    as_json: bool
    url: str
    key: str
    secret: str = field(repr=False)
