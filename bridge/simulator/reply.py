"""One reply of the agent: which frame is due when, which words were said. Pure; times are the loop's clock.

A reply is silent for its lead, then heard; its words come in one burst early on; its transcript and its end follow the
last frame. It knows no other reply and no caller.
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.simulator.lines import SILENT_FRAME, Speech
from bridge.simulator.sound import FRAME_MS

FIRST_FRAME_AFTER_S = 0.006
"""From `reply.started` to the first `reply.audio`."""

WORDS_AT_FRAME = 36
"""All words of a reply come about 365 ms after its first frame."""

WITHDRAWN_FRAMES = 30
"""Silent frames that a reply still sends after the caller turned out to go on speaking before it was heard."""

EMPTY_FRAMES = 240
"""An empty reply is 2.4 s of silence."""

STALL_S = 1.0
"""Whoever is later than this was stopped and not slow: the frames are not hurried after, the clock is set anew."""


class Cause(enum.Enum):
    """Why the agent speaks."""

    GREETING = "greeting"
    TURN = "turn"
    ASKED = "asked"
    """By `reply.create`, or through the control port."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it sounds, in milliseconds of the reply's audio."""

    text: str
    start_ms: int
    end_ms: int


class Step(enum.Enum):
    """What a reply does next."""

    START = "start"
    FRAME = "frame"
    WORDS = "words"
    TRANSCRIPT = "transcript"
    DONE = "done"
    OVER = "over"


class Reply:
    """A reply under way. `next_step` and `due_at` say what comes next; `advance` takes it."""

    def __init__(
        self, *, cause: Cause, speech: Speech | None, started_at: float, lead_ms: int, done_lag_ms: int, burst: bool
    ) -> None:
        """A reply that starts at `started_at`; without `speech` it is an empty one."""
        self.cause = cause
        self.speech = speech
        self.frames_sent = 0
        self.next_step = Step.START
        self.is_withdrawn = False
        self._started_at = started_at
        self._first_frame_at = started_at + FIRST_FRAME_AFTER_S
        self._lead_frames = lead_ms // FRAME_MS if speech else EMPTY_FRAMES
        self._voiced: Sequence[bytes] = speech.frames if speech else ()
        self._frames = self._lead_frames + len(self._voiced)
        self._done_lag_s = done_lag_ms / 1000
        self._frame_s = 0.0 if burst else FRAME_MS / 1000

    @property
    def due_at(self) -> float:
        """When the next step is due; infinity when there is none."""
        match self.next_step:
            case Step.START:
                return self._started_at
            case Step.FRAME | Step.WORDS:
                return self._first_frame_at + self.frames_sent * self._frame_s
            case Step.TRANSCRIPT:
                return self._end_at
            case Step.DONE:
                return self._end_at + self._done_lag_s
            case Step.OVER:
                return float("inf")

    @property
    def _end_at(self) -> float:
        return self._first_frame_at + self._frames * FRAME_MS / 1000

    def frame(self) -> bytes:
        """The frame that is due, base64."""
        voiced = self.frames_sent - self._lead_frames
        return SILENT_FRAME if voiced < 0 or self.is_withdrawn else self._voiced[voiced]

    def advance(self) -> None:
        """Take the step that was due."""
        match self.next_step:
            case Step.START:
                self.next_step = Step.FRAME
            case Step.FRAME:
                self.frames_sent += 1
                self.next_step = self._after_frame()
            case Step.WORDS:
                self.next_step = Step.FRAME if self.frames_sent < self._frames else Step.TRANSCRIPT
            case Step.TRANSCRIPT:
                self.next_step = Step.DONE
            case Step.DONE | Step.OVER:
                self.next_step = Step.OVER

    def _after_frame(self) -> Step:
        if self.speech and self.frames_sent == min(WORDS_AT_FRAME, self._frames):
            return Step.WORDS
        if self.frames_sent < self._frames:
            return Step.FRAME
        return Step.TRANSCRIPT

    def catch_up(self, now: float) -> None:
        """After a stall, go on from now instead of sending all that is late at once."""
        late_s = now - self.due_at
        if late_s > STALL_S:
            self._started_at += late_s
            self._first_frame_at += late_s

    def withdraw(self) -> None:
        """The caller goes on speaking and nothing was heard yet: stay silent and end soon."""
        self.is_withdrawn = True
        self._frames = min(self._frames, self.frames_sent + WITHDRAWN_FRAMES)

    def is_heard(self, now: float) -> bool:
        """Whether the agent's voice sounds now."""
        heard_from = self._first_frame_at + self._lead_frames * FRAME_MS / 1000
        return bool(self._voiced) and not self.is_withdrawn and heard_from <= now < self._end_at

    def is_pending(self, now: float) -> bool:
        """Whether the agent's voice is still to come."""
        heard_from = self._first_frame_at + self._lead_frames * FRAME_MS / 1000
        return bool(self._voiced) and not self.is_withdrawn and now < heard_from

    def words(self) -> Iterator[Word]:
        """Every word, its time spread by its length. A greeting's have no trailing space, others do (seen live)."""
        if self.speech is None:
            return
        words = self.speech.text.split()
        letters = sum(map(len, words))
        lead_ms = self._lead_frames * FRAME_MS
        said = 0
        for word in words:
            start_ms = lead_ms + said * self.speech.length_ms // letters
            said += len(word)
            end_ms = lead_ms + said * self.speech.length_ms // letters
            yield Word(word if self.cause is Cause.GREETING else word + " ", start_ms, end_ms)

    def text_said(self) -> str:
        """The words that have begun to sound in the frames sent so far."""
        sent_ms = self.frames_sent * FRAME_MS
        return " ".join(word.text.strip() for word in self.words() if word.start_ms < sent_ms)
