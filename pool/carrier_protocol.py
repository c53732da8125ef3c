"""What a parent and its carriers say to each other: orders over one pipe, messages over another, and their formats.

The parent tells a carrier what to do by one word a line, a carrier tells how it is by one JSON object a line. A carrier
whose pipe of orders closes has no parent any more and leaves; one whose parent does not read drops its reports.
Standard library only: this is loaded before anything that starts a thread.
"""

import enum
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from threading import Lock

MAX_LINE_BYTES = 32_768
"""Of a report. A pipe holds 64 KiB, so the first one, which is the longest, is never dropped."""

EXIT_FAILED = 1
EXIT_SETTINGS = 2
EXIT_PANIC = 70
"""LiveKit's SDK met a bug of its own and asked for our end."""
EXIT_FORCED = 71
"""It was drained and did not end by itself."""
EXIT_PARENT_GONE = 72


@dataclass(frozen=True, slots=True)
class CarrierArgs:
    """What a parent gives a carrier when it starts it."""

    carrier: str
    worker: str
    worker_started_unix_ms: int
    parent_pid: int
    orders_fd: int = -1
    reports_fd: int = -1

    @property
    def argv(self) -> list[str]:
        """As arguments of the program."""
        numbers = self.worker_started_unix_ms, self.parent_pid, self.orders_fd, self.reports_fd
        return [self.carrier, self.worker, *map(str, numbers)]

    @classmethod
    def parse(cls, argv: list[str]) -> "CarrierArgs":
        """From those of the program, without its name."""
        carrier, worker, *numbers = argv
        return cls(carrier, worker, *map(int, numbers))


class Order(enum.Enum):
    """What a parent asks of a carrier."""

    DRAIN = "drain"
    """Take no more rooms, and end when the last call has."""
    HURRY = "hurry"
    """Do not wait for calls to end."""
    RETIRE = "retire"
    """Make place for a fresh carrier: as DRAIN, if there is no call."""
    LOOK = "look"
    """Rooms are without an owner since now: look for them at once."""


@dataclass(frozen=True, slots=True)
class ParentSettings:
    """The first message of a carrier: what of its settings concerns its parent, which has read none."""

    redis_url: str = field(repr=False)
    capacity: int
    grace_s: float
    recycle_calls: int
    """0: never."""
    recycle_rss_bytes: int
    """0: never."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """All that a carrier says which cannot start as it is configured: a line a person can act on for each fault."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """How a carrier is."""

    is_ready: bool
    reason: str
    """Why it is not, or what it does."""
    in_use: int = 0
    """Calls it holds, those on their way in and out included."""
    is_draining: bool = False
    """It takes no more calls."""
    is_ending: bool = False
    """It was told to end, and will when it holds no call. One that somebody drained by hand stays."""
    calls_carried: int = 0
    rss_bytes: int = 0


Message = ParentSettings | Refusal | Report

_KINDS: dict[str, type[Message]] = {"settings": ParentSettings, "refusal": Refusal, "report": Report}


def encode(message: Message) -> bytes:
    """A message as a line."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(message, cls))
    return json.dumps({"is": kind, **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message | None:
    """What a line says; None when it says nothing we know."""
    try:
        said = json.loads(line)
        message = _KINDS[said.pop("is")](**said)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Refusal(tuple(message.problems)) if isinstance(message, Refusal) else message


def write_or_drop(fd: int, line: bytes) -> bool:
    """Write a line to a pipe that does not block. False: its reader is gone, or has not read for long."""
    try:
        return os.write(fd, line) == len(line)
    except (BlockingIOError, BrokenPipeError):
        return False


class Orders:
    """Orders on their way from threads to the loop. Those that come before the loop listens are kept, each once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[Order, None] = {}
        self._deliver: Callable[[Order], object] | None = None

    def put(self, order: Order) -> None:
        """From any thread."""
        with self._lock:
            if self._deliver is None:
                self._kept[order] = None
            else:
                self._deliver(order)

    def listen(self, deliver: Callable[[Order], object]) -> None:
        """Hand every order, the kept ones first, to `deliver`, which must be safe to call from any thread."""
        with self._lock:
            self._deliver = deliver
            for order in self._kept:
                deliver(order)
            self._kept.clear()
