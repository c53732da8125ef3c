"""What can go wrong for the synthetic caller.

CallerError
├── CannotJoin     LiveKit did not let us in: address, keys or network
├── NotInTime      what was awaited did not happen within its limit: usually the finding, not a fault
├── CallOver       the room closed on us while something was awaited
└── BadRecording   a WAV file of the user's that we cannot play
"""


class CallerError(Exception):
    """Base of everything the synthetic caller raises on purpose. Its text is fit for the person at the terminal."""


class CannotJoin(CallerError):
    """LiveKit did not let us in. `reason` is the SDK's own sentence, which tells a refused token from a dead port."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot join the room: {reason}")
        self.reason = reason


class NotInTime(CallerError):
    """`what` did not happen within `limit_s` seconds."""

    def __init__(self, what: str, *, limit_s: float) -> None:
        super().__init__(f"{what} within {limit_s:g} s")
        self.what = what
        self.limit_s = limit_s


class CallOver(CallerError):
    """The connection to the room ended under us; `reason` is LiveKit's name for why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the room connection ended: {reason}")
        self.reason = reason


class BadSettings(CallerError):
    """What we were started with cannot be. `problems` are lines for a person: variable, what is wrong, the cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
