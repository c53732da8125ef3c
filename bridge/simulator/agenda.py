"""What a session has to say and to do: frames to send, and actions at a time. Pure; times are the loop's clock."""

import heapq
import itertools
from collections.abc import Callable

from bridge.simulator.wire import Outgoing, event

Action = Callable[[float], None]
"""Something to do; it is told the time it was due, not the time it is."""


class Outbox:
    """Frames to send, in order. Whoever owns the socket empties it after each step, so it holds one step's frames."""

    def __init__(self, unix_offset_s: float) -> None:
        """`unix_offset_s` is what the loop's clock lacks of epoch seconds."""
        self.unix_offset_s = unix_offset_s
        self.frames: list[Outgoing] = []

    def emit(self, now: float, kind: str, **facts: object) -> None:
        """Send an event."""
        self.frames.append(event(kind, now + self.unix_offset_s, **facts))

    def put(self, *frames: Outgoing) -> None:
        """Send what is no event."""
        self.frames += frames

    def take(self) -> list[Outgoing]:
        """The frames, which are the caller's from now on."""
        taken, self.frames = self.frames, []
        return taken


class Agenda:
    """Actions at a time; those due at the same time happen in the order they were added."""

    def __init__(self) -> None:
        self._actions: list[tuple[float, int, Action]] = []
        self._order = itertools.count()

    @property
    def due_at(self) -> float:
        """When the next action is due; infinity without one."""
        return self._actions[0][0] if self._actions else float("inf")

    def add(self, due_at: float, action: Action) -> None:
        """Do `action` at `due_at`."""
        heapq.heappush(self._actions, (due_at, next(self._order), action))

    def do_next(self) -> None:
        """Do the next action, due or not."""
        due_at, _, action = heapq.heappop(self._actions)
        action(due_at)

    def clear(self) -> None:
        """Do nothing of what is left."""
        self._actions.clear()
