"""A client of the sans-I/O simulator on a virtual clock: exact times, no waiting.

What it sends is written from the published protocol, frame by frame, and not by our own voice link.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pybase64

from bridge.simulator.directory import Directory
from bridge.simulator.options import Faults, SimulatorOptions
from bridge.simulator.session import VoiceSession
from bridge.simulator.wire import Abort, Binary, Close, Outgoing

UNIX_S = 1_790_000_000.0
"""What the wall clock shows when the virtual one shows 0."""

CHUNK_MS = 50

BYTES_PER_MS = 48
"""24 kHz, 16 bits, mono: as published, and not as the simulator counts."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A JSON message of the server's, and when it came, in milliseconds of the virtual clock."""

    at_ms: float
    message: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Its `type`, empty without one."""
        kind = self.message.get("type", "")
        return kind if isinstance(kind, str) else ""


@dataclass(slots=True)
class VirtualClient:
    """One connection. `now_ms` is the virtual clock; `seen` what came; `closed` how the server closed, if it did."""

    directory: Directory
    key: str = "any-key"
    now_ms: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    raw: list[Outgoing] = field(default_factory=list)
    closed: Close | Abort | None = None
    session: VoiceSession = field(init=False)

    def __post_init__(self) -> None:
        """Open the connection at `now_ms`."""
        self.session = VoiceSession(self.directory, credential=self.key, now=self._now_s, unix_now=UNIX_S + self._now_s)
        self._collect()

    @property
    def _now_s(self) -> float:
        return self.now_ms / 1000

    def _collect(self) -> None:
        for item in self.session.take():
            self.raw.append(item)
            match item:
                case bytes():
                    try:
                        message = json.loads(item)
                    except ValueError:
                        continue
                    if isinstance(message, dict):
                        self.seen.append(Seen(round(self.now_ms, 3), message))
                case Binary():
                    pass
                case Close() | Abort():
                    self.closed = item

    def send(self, message: object) -> None:
        """Send a message: a mapping as JSON, text and bytes as they are."""
        self.session.receive(message if isinstance(message, str | bytes) else json.dumps(message), self._now_s)
        self._collect()

    def pass_time(self, ms: float) -> None:
        """Let time pass, ticking exactly when the session asks for it."""
        end_ms = self.now_ms + ms
        while self.session.due_at * 1000 <= end_ms and self.closed is None:
            self.now_ms = max(self.now_ms, self.session.due_at * 1000)
            # A tick at the very moment: the float behind `due_at` may lie a hair after what it is in milliseconds.
            self.session.tick(max(self._now_s, self.session.due_at))
            self._collect()
        self.now_ms = end_ms

    def play(self, pcm: bytes) -> None:
        """Send audio at real time, 50 ms a message, each when it was spoken."""
        for start in range(0, len(pcm), CHUNK_MS * BYTES_PER_MS):
            chunk = pcm[start : start + CHUNK_MS * BYTES_PER_MS]
            self.pass_time(len(chunk) / BYTES_PER_MS)
            self.send({"type": "input.audio", "audio": pybase64.b64encode(chunk).decode()})

    def speak(self, ms: int) -> None:
        """The caller speaks."""
        self.play(voice(ms))

    def keep_quiet(self, ms: int) -> None:
        """The caller's microphone is open and quiet."""
        self.play(silence(ms))

    def begin(self, **session: object) -> "VirtualClient":
        """Configure and wait until the session is ready; the clock then shows that moment."""
        self.send({"type": "session.update", "session": session})
        self.pass_until("session.ready")
        return self

    def pass_until(self, kind: str, *, limit_ms: float = 60_000) -> Seen:
        """Let time pass, with no audio, until an event of that kind comes; the clock then shows that moment."""
        count = len(self.of(kind))
        end_ms = self.now_ms + limit_ms
        while len(self.of(kind)) == count:
            due_ms = self.session.due_at * 1000
            assert due_ms <= end_ms, f"no {kind} within {limit_ms} ms, only {self.kinds()}"
            self.pass_time(max(due_ms - self.now_ms, 0))
        return self.of(kind)[count]

    def of(self, kind: str) -> list[Seen]:
        """Every event of a kind."""
        return [seen for seen in self.seen if seen.kind == kind]

    def last(self, kind: str) -> Seen:
        """The latest event of a kind."""
        return self.of(kind)[-1]

    def kinds(self) -> list[str]:
        """The kinds of all events in order, audio and words told once for a run of them."""
        kinds: list[str] = []
        for seen in self.seen:
            if not (kinds and seen.kind == kinds[-1] and seen.kind in ("reply.audio", "transcript.agent.delta")):
                kinds.append(seen.kind)
        return kinds

    def errors(self) -> list[Mapping[str, Any]]:
        """Every `session.error`."""
        return [seen.message for seen in self.of("session.error")]

    def audio(self) -> Iterator[tuple[float, bytes]]:
        """When each frame of the agent's came, and its PCM."""
        for seen in self.of("reply.audio"):
            yield seen.at_ms, pybase64.b64decode(seen.message["data"], validate=True)


def client(options: SimulatorOptions | None = None, faults: Faults | None = None, **more: Any) -> VirtualClient:
    """A client of a simulator of its own."""
    return VirtualClient(Directory(options or SimulatorOptions(), faults or Faults()), **more)


def silence(ms: int) -> bytes:
    """A microphone in a quiet room, as digital silence."""
    return bytes(ms * BYTES_PER_MS)


def voice(ms: int) -> bytes:
    """Something loud enough to be speech: a tone, in PCM16."""
    tone = np.sin(np.arange(ms * 24) * (2 * np.pi * 220 / 24_000)) * 8000
    return bytes(tone.astype("<i2").tobytes())


def is_audible(pcm: bytes) -> bool:
    """Whether a frame is louder than -50 dBFS, the published bound between silence and speech."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    return bool(np.sqrt(np.mean(samples * samples)) > 32768 * 10 ** (-50 / 20))
