"""The values that room state is asked with and answers with. No Redis here."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Times:
    """How long things last in room state, milliseconds. The same for every process that shares a Redis."""

    ttl_ms: int = 3000
    """A lease, and the grace after Redis was away in which owners come back first."""
    attempts_window_ms: int = 600_000
    """Attempts older than this no longer count towards quarantine."""
    healthy_ms: int = 60_000
    """After so long under one claim the room has no failed attempts any more."""
    backoff_ms: tuple[int, ...] = (0, 1000, 5000, 15000)
    """How long a room waits after its first, second, ... failed attempt in a row; the last one holds for all later.
    Attempts that do not count towards quarantine count here."""
    quarantine_after: int = 3
    """Failed attempts within the window until a person must look."""
    finished_ms: int = 3_600_000
    """How long a finished sid, and a room nobody is in, are remembered."""
    why_ms: int = 86_400_000
    """How long a room's story outlives its last line."""
    why_entries: int = 200
    """About how many lines of it are kept."""
    rested_look_ms: int = 10_000
    """How often a rested room is worth a look at who is in it: a newer caller's webhook may have been lost."""
    carrier_ms: int = 600_000
    """How long the record of a carrier that fell silent is shown."""
    memory_ms: int = 600_000
    """How long what was said in a room is remembered after the last renewal of its last owner."""
    emptied_ms: int = 2_000
    """An owner that renews so long after the last caller left goes on with the talk, should somebody return."""
    offer_ms: int = 20_000
    """How long a carrier that was asked to stand by keeps a slot for it."""
    pass_ms: int = 5_000
    """How long the grant of a room that was passed on lies where the next owner waits for it."""
    expected_ms: int = 5_000
    """How long a room that LiveKit opened is worth a claim with nobody in it: a caller's connect takes less."""
    settled_ms: int = 10_000
    """A carrier that dies so long after its claim counts as no failed attempt of the room."""


class Noted(enum.Enum):
    """What came of a note."""

    WAITING = "waiting"
    """Arrived: the room waits for a carrier, now or after a back-off or grace."""
    OWNED = "owned"
    """Arrived: a carrier holds the room, and sees the caller itself."""
    RESTED = "rested"
    """Arrived: the agent has ended the call, and this is nobody new."""
    QUARANTINED = "quarantined"
    """Arrived: noted, but no carrier gets the room before a person lifts the quarantine."""
    FINISHED = "finished"
    """Arrived or left: this life of the room is over; nothing changed."""
    STALE = "stale"
    """Any: another life of the room's name is stored; nothing changed (but the tombstone, for a finish)."""
    GONE = "gone"
    """Arrived: this participant has left already; nothing changed."""
    LEFT = "left"
    """Left: noted."""
    ABSENT = "absent"
    """Left or finished: the room was unknown; remembered."""
    CLOSED = "closed"
    """Finished: noted."""


class NoGrant(enum.Enum):
    """Why a carrier got no room."""

    NOTHING = "nothing"
    """No room waits that this carrier may have."""
    FULL = "full"
    CORDONED = "cordoned"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to be the only agent in a room until `ttl_ms` after the claim was *sent*, unless renewed."""

    room: str
    sid: str
    created_unix_ms: int
    fence: int
    """Only ever larger for a room's name; shown with every renewal and the release."""
    ttl_ms: int
    attempt: int
    """Which try this is, from 1, within the window."""
    wanted_unix_ms: int
    """Since when the room has been wanted: its place in the queue, kept over tries and over calls that were cut off."""
    queued_unix_ms: int
    """Since when it has been without a carrier this time."""
    callers: Mapping[str, int]
    """Participant sid to joined ms: who is noted as present. Empty when somebody is only expected."""
    claimed_unix_ms: int
    """When the grant was made."""
    memory: tuple[str, ...] = field(default=(), repr=False)
    """What former owners remembered of this talk, in their words, oldest first."""

    @property
    def waited_ms(self) -> int:
        """How long the room was without a carrier."""
        return self.claimed_unix_ms - self.queued_unix_ms


@dataclass(frozen=True, slots=True)
class Held:
    """What an owner says of a room it holds. Enough to restore room state from, should Redis have lost it."""

    room: str
    sid: str
    created_unix_ms: int
    fence: int
    callers: Mapping[str, int] = field(default_factory=dict)
    """Participant sid to joined ms: whom the owner sees in the room; may be empty."""


class Renewal(enum.Enum):
    """What Redis says to an owner. The values are those on the wire."""

    LOST = 0
    """Somebody was granted the room since, or it was given up: leave now."""
    MINE = 1
    """Extended by one ttl, counted from before the renewal was sent."""
    OVER = 2
    """This life of the room has ended, or a later one is known: leave now."""
    PASSED = 3
    """We handed it to the next owner: be mute, and stay until put out, 2 s at most."""
    HANG_UP = 4
    """Extended as for `MINE`, but a person asks to end the call: let the room rest."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What came of asking for somebody to stand by."""

    next: str | None
    """The carrier that has a slot reserved. None: nobody can now, or the room is not ours (any more)."""
    ready: bool
    """Whether it has said that it could go on this instant."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A room that this carrier is asked to stand by for."""

    room: str
    sid: str
    created_unix_ms: int
    fence: int
    """The present owner's: what every answer to the offer shows."""
    owner: str
    callers: Mapping[str, int]
    """Participant sid to joined ms."""
    memory: tuple[str, ...] = field(repr=False)
    """What its owners remembered up to now, oldest first."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a sweep found."""

    claimable: int
    """Rooms that became so just now."""
    offers: tuple[Offer, ...]
    """Rooms that the asking carrier is to stand by for, also those it has said ready for."""


class HangUp(enum.Enum):
    """What came of a person's wish to end a call."""

    ASKED = "asked"
    """The owner is told by its next renewal."""
    RESTED = "rested"
    """Nobody held the room; now it rests for whoever is in it."""
    NOBODY = "nobody"
    """The room is unknown or over, or nobody is in it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Somebody else shall go on with this room."""

    failed: bool
    """True: the call could not be carried; wait with the next try, the longer the more of them there were."""
    counts: bool = True
    """Of a failed one: whether it counts towards quarantine. False where neither the room nor its call is at fault,
    such as an outage of the voice vendor: the room is tried again however long that lasts."""
    bar_ms: int = 0
    """For so long this carrier is not given the room."""


@dataclass(frozen=True, slots=True)
class Rested:
    """The agent ended the call. Only somebody who was not served and joined after all of these wakes the room."""

    served: Mapping[str, int]
    """Participant sid to joined ms of everybody who was in the room with the agent."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The callers have left. Whoever else is noted as present waits for an agent again."""

    served: Mapping[str, int]
    """Participant sid to joined ms of everybody who was in the room with the agent, or was looked for and not found.

    When nobody was found, give `Grant.callers`; else those stay noted, and the room is claimed again at once.
    """


Release = Again | Rested | Gone


class Standing(enum.Enum):
    """Where a room stands."""

    OWNED = "owned"
    LAPSED = "lapsed"
    """Its lease has ended, but Redis was away: the owner may come back first."""
    WAITING = "waiting"
    BACKING_OFF = "backing_off"
    """Waits, and no carrier may have it before a moment: attempts failed."""
    HELD_BACK = "held_back"
    """Waits, but Redis lost its data: an owner nobody knows of may come back first."""
    RESTED = "rested"
    QUARANTINED = "quarantined"
    ABSENT = "absent"
    """Nobody is noted as present."""
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class RoomState:
    """One room's name as Redis has it. Times are Redis' clock, ms."""

    room: str
    sid: str
    created_unix_ms: int
    standing: Standing
    now_unix_ms: int
    """When this was read."""
    callers: Mapping[str, int]
    gone: tuple[str, ...]
    owner: str | None
    fence: int
    """0 while no claim is known."""
    until_unix_ms: int | None
    claimed_unix_ms: int | None
    attempts: tuple[int, ...]
    """Tries within the window that count towards quarantine, the one under way included."""
    excused: tuple[int, ...]
    """Failed tries within the window that do not."""
    rested_sids: tuple[str, ...]
    rested_upto_unix_ms: int | None
    quarantined_unix_ms: int | None
    wanted_unix_ms: int | None
    queued_unix_ms: int | None
    due_unix_ms: int | None
    """When somebody must look: the lease's end, or the end of a back-off or grace."""
    bars: Mapping[str, int]
    """Carrier or worker to the moment until which it does not get the room."""
    declined: Mapping[str, int] = field(default_factory=dict)
    """Carrier to the moment until which it is not asked to stand by for it."""
    next: str | None = None
    """Who is asked to stand by."""
    is_next_ready: bool = False
    hangup_unix_ms: int | None = None
    """Since when a person has wanted the call to end, until it has."""


@dataclass(frozen=True, slots=True)
class RoomSummary:
    """One line of `roompool ps`."""

    room: str
    sid: str
    standing: Standing
    owner: str | None
    fence: int
    callers: int
    attempts: int
    """Tries within the window, the one under way included."""
    waited_ms: int | None
    """Since the room has been without a carrier; None when it is owned or quarantined."""
    held_ms: int | None
    """Since the owner's claim (or its return after loss of Redis' data); None when it is not owned."""
    quarantined_ms: int | None
    """Since it was quarantined; None when it is not."""
    lease_left_ms: int | None
    """Until the lease ends, negative when it has; None when it is not owned."""


@dataclass(frozen=True, slots=True)
class CarrierRecord:
    """What a carrier says of itself with every beat."""

    id: str
    """New at each start of a process, never used again."""
    worker: str
    host: str
    pid: int
    revision: str
    capacity: int
    in_use: int
    draining: bool
    started_unix_ms: int
    worker_started_unix_ms: int = 0
    """When its `roompool worker` was started: the revision whose latest worker is the youngest is the newest."""


@dataclass(frozen=True, slots=True)
class CarrierSeen:
    """A carrier's last beat, and what Redis knows of it."""

    carrier: CarrierRecord
    leases: int
    """Rooms it owns by live leases. `carrier.in_use` is what it said itself."""
    cordoned: bool
    beat_age_ms: int
    drained: bool = False
    """Its worker is to drain; `carrier.draining` is what it said itself."""
    reservations: int = 0
    """Rooms it is asked to stand by for."""
