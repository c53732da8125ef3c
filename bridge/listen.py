"""Which caller is heard, and who counts as a caller inside a room. Pure.

`solo`: the first caller's microphone; when that caller is gone, the next one's. Mixing is another class beside it.
"""

from dataclasses import dataclass

CALLER_KINDS = frozenset({"STANDARD", "SIP", "CONNECTOR"})
"""Kinds of participants who are people, as LiveKit names them. Unknown ones are machines until proven otherwise."""

FINAL_REASONS = frozenset({"CLIENT_INITIATED", "ROOM_DELETED", "USER_REJECTED"})
"""Reasons after which a caller does not come back by itself. Others may be a reconnect, which leaves and rejoins."""


@dataclass(frozen=True, slots=True)
class Person:
    """A participant as the room shows it. Attributes and metadata are the participant's own words and not looked at."""

    sid: str
    identity: str
    kind: str
    joined_unix_ms: int
    hidden: bool = False
    can_publish: bool = True


def is_caller(person: Person, *, agent_identity: str) -> bool:
    """Whether this participant is somebody we serve.

    The SDK does not show the recorder and agent permissions; whoever holds those has them looked at by the receiver.
    """
    return (
        person.kind in CALLER_KINDS and person.can_publish and not person.hidden and person.identity != agent_identity
    )


class Solo:
    """Hears one microphone at a time: the first that was there, until it goes."""

    def __init__(self) -> None:
        self._tracks: dict[str, str] = {}

    @property
    def current(self) -> str | None:
        """The sid of the track to hear now, None when there is none."""
        return next(iter(self._tracks), None)

    def added(self, track_sid: str, participant_sid: str) -> None:
        """A caller's microphone can be heard."""
        self._tracks.setdefault(track_sid, participant_sid)

    def removed(self, track_sid: str) -> None:
        """It no longer can."""
        self._tracks.pop(track_sid, None)

    def gone(self, participant_sid: str) -> None:
        """A caller left, with every track."""
        self._tracks = {track: owner for track, owner in self._tracks.items() if owner != participant_sid}
