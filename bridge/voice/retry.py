"""What to do after a voice session failed: try again, with which voice, when, or give up. Pure."""

import random
from dataclasses import dataclass, field

from bridge.errors import VoiceClosed, VoiceError, VoiceMisfit, VoiceRefused

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
ATTEMPTS = 5
"""Half a second doubling to eight, five in a row: the vendor's advice. A caller in silence for longer hangs up."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Dial again after `wait_s`, with this voice."""

    wait_s: float
    voice: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further attempt helps; the error says why."""

    error: VoiceError


@dataclass(slots=True)
class Retry:
    """The attempts of one call at a voice. Reset by every voice session that became ready and lived."""

    voices: tuple[str, ...]
    voice: str = ""
    _failures: int = 0
    _refused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.voices:
            raise ValueError("at least one voice is needed")
        self.voice = self.voice or self.voices[0]

    def succeeded(self) -> None:
        """A voice session became ready."""
        self._failures = 0

    def failed(self, error: VoiceError) -> TryAgain | GiveUp:
        """Decide after a failure. An open link that broke is redialled at once, the first time."""
        if isinstance(error, VoiceRefused):
            return GiveUp(error)
        if isinstance(error, VoiceMisfit):
            return self._next_voice(error)
        self._failures += 1
        if self._failures > ATTEMPTS:
            return GiveUp(error)
        if isinstance(error, VoiceClosed) and self._failures == 1:
            return TryAgain(0.0, self.voice)
        longest = min(FIRST_WAIT_S * 2 ** (self._failures - 1), LONGEST_WAIT_S)
        return TryAgain(random.uniform(longest / 2, longest), self.voice)  # jitter: many calls fail at once

    def _next_voice(self, error: VoiceMisfit) -> TryAgain | GiveUp:
        """The next of our voices that the peer offers; when it offers none of them, its error stands."""
        self._refused.add(self.voice)
        if error.param != "output.voice":
            return GiveUp(error)
        for voice in self.voices:
            if voice not in self._refused and (not error.valid_voices or voice in error.valid_voices):
                self.voice = voice
                return TryAgain(0.0, voice)
        return GiveUp(error)
