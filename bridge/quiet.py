"""Is this a quiet moment: does nobody speak, and owe nobody an answer? Pure; time is an argument.

A call is handed to another owner in such a moment, because a turn cut in two is heard twice or never.
"""

from bridge.turn import Floor, FloorEvent

OWED_S = 3.0
"""How long an answer is waited for after the caller's turn, and a greeting after the voice is ready. The vendor opens a
reply within milliseconds; one that does not come by then was not owed (a cough, a word to somebody else)."""


class QuietMoment:
    """What the voice told about who speaks, as far as it matters for a quiet moment."""

    def __init__(self) -> None:
        self._hears = False
        """Whether a voice listens; without one nobody knows whether the caller speaks."""
        self._caller_speaks = False
        self._owed_until_at: float | None = None

    def attached(self, *, owes: bool, now: float) -> None:
        """A voice listens from now on. `owes`: it is to speak first."""
        self._hears = True
        self._caller_speaks = False
        self._owed_until_at = now + OWED_S if owes else None

    def detached(self) -> None:
        """It is gone."""
        self._hears = False

    def take(self, event: FloorEvent, *, now: float) -> None:
        """One change of the floor."""
        match event:
            case FloorEvent.CALLER_STARTED:
                self._caller_speaks = True
            case FloorEvent.CALLER_STOPPED:
                self._caller_speaks = False
                self._owed_until_at = now + OWED_S
            case FloorEvent.REPLY_STARTED:
                self._owed_until_at = None

    def comes_in_s(self, floor: Floor, *, playing_s: float, now: float) -> float | None:
        """Seconds until it is quiet if nobody says anything more; 0.0: it is; None: somebody speaks.

        Args:
            playing_s: How much of what the agent said is still to be heard.
        """
        if not self._hears or self._caller_speaks or floor is not Floor.NOBODY:
            return None
        owed_s = self._owed_until_at - now if self._owed_until_at is not None else 0.0
        return max(playing_s, owed_s, 0.0)
