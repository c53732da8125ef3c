"""What must be true of room state, kept beside Redis by a story: values, and no Redis here."""

from dataclasses import dataclass, field

from pool.registry import Grant, Offer, RoomState

MOST_TEXTS, MOST_TEXT_BYTES = 40, 8192


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a room's name, as LiveKit would have made it."""

    room: str
    sid: str
    created: int

    def participant(self, number: int) -> tuple[str, int]:
        """Sid and joined ms of somebody in it; a greater number joined later."""
        return f"{self.sid}.{number}", self.created + number


@dataclass(slots=True)
class Known:
    """What Redis must know of a room's name, told by notes, renewals and releases alone."""

    life: Life
    callers: dict[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    expected_until: int = 0
    """Until when it may be claimed with nobody in it."""
    emptied_at: int | None = None
    """When the last caller left, if its talk may end with its owner."""


@dataclass(slots=True)
class Model:
    """All that Redis must know, and forgets when it loses its data."""

    known: dict[str, Known] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    memory: dict[str, list[str]] = field(default_factory=dict)
    """Life's sid to what its owners remembered."""
    hung_up: dict[str, set[str]] = field(default_factory=dict)
    """Room whose call a person wants ended, to whom it was for; until its owner gives it up or it is granted anew."""
    drained: set[str] = field(default_factory=set)
    """Workers that are to drain."""
    beats: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Carrier to what it said last: its worker, and whether it drains."""

    def drains(self, carrier: str) -> bool:
        """Whether Redis knows that a carrier is to get no more rooms."""
        worker, is_draining = self.beats.get(carrier, ("", False))
        return is_draining or worker in self.drained

    def remember(self, sid: str, texts: list[str]) -> None:
        """Add to the memory of a life, within its bounds."""
        kept: list[str] = []
        for text in reversed([*self.memory.get(sid, []), *texts][-MOST_TEXTS:]):
            if sum(len(one.encode()) for one in [*kept, text]) > MOST_TEXT_BYTES:
                break
            kept.append(text)
        self.memory[sid] = kept[::-1]


@dataclass(slots=True)
class Holder:
    """A carrier as it sees itself."""

    id: str
    worker: str
    held: dict[str, Grant] = field(default_factory=dict)
    """What it was granted and not yet told to have lost."""
    until: dict[str, int] = field(default_factory=dict)
    """Until when it may count on that, by its own clock."""
    unheard: set[str] = field(default_factory=set)
    """Rooms granted to it in an answer that never came, or that lies where it has not looked yet."""
    asked: dict[str, Offer] = field(default_factory=dict)
    """Rooms it has said that it stands ready for."""
    is_draining: bool = False

    @property
    def in_use(self) -> int:
        """The slots that are taken, as it counts itself."""
        return len({*self.held, *self.asked})


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything in Redis that rules speak of, read at one moment."""

    now: int
    states: dict[str, RoomState | None]
    waiting: dict[str, int]
    due: dict[str, int]
    held: dict[str, set[str]]
    """Carrier to the members of its set, as it stands in Redis."""
    standby: dict[str, set[str]]
    memory: dict[str, list[str]]
    emptied: set[str]
    """The rooms whose talk ends with its owner."""
    counters: set[str]
    """The names of what was counted."""

    def owned_by(self, carrier: str) -> set[str]:
        """The rooms whose owner it is by their own word."""
        return {room for room, state in self.states.items() if state is not None and state.owner == carrier}

    def reserved_for(self, carrier: str) -> set[str]:
        """The rooms it is asked to stand by for, by their own word."""
        return {room for room, state in self.states.items() if state is not None and state.next == carrier}
