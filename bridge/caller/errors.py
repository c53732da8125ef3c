"""What can go wrong for the synthetic caller.

CallerError
├── CannotJoin     LiveKit did not let us in: address, keys or network
├── NotInTime      what was awaited did not happen within its limit: usually the finding, not a fault
├── CallOver       the room closed on us while something was awaited
└── BadSettings    what the user gave us cannot be: a variable, or a WAV file that we cannot play
"""

import enum
from typing import assert_never


class CallerError(Exception):
    """Base of everything the synthetic caller raises on purpose. Its text is fit for the person at the terminal."""


class JoinFault(enum.Enum):
    """Why LiveKit did not let us in, in words of ours."""

    REFUSED = "refused"
    """It does not accept our token."""
    UNREACHABLE = "unreachable"
    """No answer, or none of a LiveKit."""
    NO_MICROPHONE = "no_microphone"
    """We were in, but could not publish our voice."""


class CannotJoin(CallerError):
    """LiveKit did not let us in: `fault` says why, `cure` what to do.

    LiveKit's own sentence is not part of it, nor of its traceback: it may repeat the token.
    """

    def __init__(self, fault: JoinFault) -> None:
        what, self.cure = _explain(fault)
        super().__init__(f"cannot join the room: {what}")
        self.fault = fault


def _explain(fault: JoinFault) -> tuple[str, str]:
    """A fault as a clause, and its cure as another."""
    match fault:
        case JoinFault.REFUSED:
            return (
                "LiveKit refused the token",
                "check LIVEKIT_API_KEY and LIVEKIT_API_SECRET, and this machine's clock",
            )
        case JoinFault.UNREACHABLE:
            return (
                "LiveKit cannot be reached",
                "check LIVEKIT_URL, and that UDP passes between here and there",
            )
        case JoinFault.NO_MICROPHONE:
            return (
                "connected, but the microphone was not taken",
                "give the token the right to publish, and let UDP pass between here and LiveKit",
            )
        case _:
            assert_never(fault)


class NotInTime(CallerError):
    """`what` did not happen within `limit_s` seconds; `known` is what did, for whoever looks for the cause."""

    def __init__(self, what: str, *, limit_s: float, known: str = "") -> None:
        super().__init__(f"{what} within {limit_s:g} s" + (f" ({known})" if known else ""))
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
