"""What a fault is: its name, what it does, what it needs to run on, and how it is injected."""

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.local.chaos.probe_call import ProbeCall
    from deploy.local.chaos.site import Site


class Environment(enum.Enum):
    """What a fault runs on. Faults of one environment share a deployment for as long as it is whole."""

    PLAIN = "plain"
    """Everything as a user runs it; LiveKit posts to the receiver through a proxy that passes everything on."""
    NETWORK = "network"
    """One of the workers lives in a network namespace of its own and can be cut off from the others."""
    SENTINEL = "sentinel"
    """Redis is a primary with a replica, watched by sentinels."""
    POISON = "poison"
    """Processes in which the SDK panics when it joins a certain room."""


class Moment(enum.Enum):
    """When a fault strikes."""

    IN_CALL = "in_call"
    """All callers have been greeted and the agents speak; after a random time."""
    BEFORE = "before"
    """Before the callers come: it is the weather in which they call."""
    ARRIVING = "arriving"
    """While the callers come, one after the other, at a random time in it. Each leaves when it was answered."""


class CannotInject(Exception):
    """This machine does not allow the fault; the text says what is missing."""


class Missed(Exception):
    """No call was where the fault struck: nothing was tried. The trial is repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What was done.

    Attributes:
        at: When it began, on the monotonic clock; `over_at`: when its cause was gone.
        may_move: Rooms whose agent may be replaced by another one, and how often at most.
        killed: Carriers whose process was killed.
        broken: Promises of this fault's own that were not kept, as sentences.
    """

    at: float
    over_at: float
    may_move: Mapping[str, int] = field(default_factory=dict)
    killed: frozenset[str] = frozenset()
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault strikes: a deployment, the calls in it, and where its random choices come from."""

    site: "Site"
    calls: "Sequence[ProbeCall]"
    random: Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which things go wrong.

    Attributes:
        name: As on the command line. `what`: one line for a person.
        prepare: What is done before the callers come.
        inject: Does it, and its end; returns when its cause is gone.
        calls: Callers in a trial, each in a room of its own.
        every_s: For ARRIVING, the time between two callers.
        until_over: What must have come to pass, with the calls going on, before the callers ask again.
        is_hand_over: See `verdict.report`.
        limit_s: All must be well again so long after the cause is gone.
    """

    name: str
    what: str
    inject: Callable[[Scene], Awaitable[Injection]] = field(repr=False)
    prepare: Callable[[Scene], Awaitable[None]] | None = field(default=None, repr=False)
    environment: Environment = Environment.PLAIN
    moment: Moment = Moment.IN_CALL
    until_over: Callable[[Scene], Awaitable[None]] | None = field(default=None, repr=False)
    calls: int = 2
    every_s: float = 0.0
    is_hand_over: bool = False
    limit_s: float = 30.0
