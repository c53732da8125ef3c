"""What the sessions of one simulator share: admission, faults, the table of resumable sessions, the reports. Pure."""

from collections import deque
from dataclasses import dataclass, replace

from bridge.simulator.config import SessionConfig
from bridge.simulator.options import Faults, Resume, SimulatorOptions
from bridge.simulator.records import SessionRecord, SessionReport


@dataclass(frozen=True, slots=True)
class Lost:
    """A session whose connection was lost without `session.end`."""

    config: SessionConfig
    resume_token: str
    until: float
    """On the loop's clock; then it can no longer be resumed and stops counting."""


class Directory:
    """The sessions of one simulator. Holds at most `kept_reports` records, and lost sessions for their grace."""

    def __init__(self, options: SimulatorOptions, faults: Faults) -> None:
        self.options = options
        self._records: deque[SessionRecord] = deque(maxlen=options.kept_reports)
        self._active: set[str] = set()
        self._lost: dict[str, Lost] = {}
        self.set_faults(faults)

    @property
    def faults(self) -> Faults:
        """What connections get from now on; `sessions` and `at_capacity_n` are what is left of them."""
        return self._faults

    def set_faults(self, faults: Faults) -> None:
        """What connections get from now on."""
        self._faults = faults

    def take_faults(self) -> Faults:
        """The faults of a connection that opens now, counted down."""
        faults = self._faults
        if faults.sessions == 0:
            return Faults()
        if faults.sessions is not None:
            self._faults = replace(faults, sessions=faults.sessions - 1)
        if faults.at_capacity_n:
            self._faults = replace(self._faults, at_capacity_n=faults.at_capacity_n - 1)
        return faults

    def refusal(self, faults: Faults, now: float) -> str | None:
        """The error code of a connection that is not admitted, None if it is."""
        self._expire(now)
        if faults.at_capacity_n:
            return "at_capacity"
        if faults.concurrency_limit is not None and len(self._active) + len(self._lost) >= faults.concurrency_limit:
            return "concurrency_exceeded"
        return None

    def enter(self, record: SessionRecord) -> None:
        """Remember a connection."""
        self._records.append(record)

    def begin(self, session_id: str) -> None:
        """Count a session against the limit."""
        self._active.add(session_id)

    def end(self, session_id: str) -> None:
        """Stop counting a session; it cannot be resumed."""
        self._active.discard(session_id)

    def lose(self, config: SessionConfig, resume_token: str, now: float) -> None:
        """Keep a session whose connection was lost for its grace."""
        self._active.discard(config.session_id)
        self._lost[config.session_id] = Lost(config, resume_token, now + self.options.resume_grace_s)

    def resume(self, session_id: str, credential: str, now: float) -> SessionConfig | None:
        """Take a lost session out of the table, None if it cannot be resumed."""
        self._expire(now)
        lost = self._lost.get(session_id)
        if lost is None or self.options.resumes is Resume.REJECT:
            return None
        if self.options.resumes is Resume.ACCEPT_ONLY_RESUME_TOKEN and credential != lost.resume_token:
            return None
        del self._lost[session_id]
        return lost.config

    def reports(self) -> list[SessionReport]:
        """Every remembered connection, oldest first."""
        return [record.report() for record in self._records]

    def _expire(self, now: float) -> None:
        for session_id in [session_id for session_id, lost in self._lost.items() if lost.until <= now]:
            del self._lost[session_id]
