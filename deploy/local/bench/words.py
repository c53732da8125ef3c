"""What callers of the bench say. Pure."""

from bridge.caller.sound import SAMPLES_PER_MS, Speech

BRIEF_MS = 1000
"""More than the simulator takes to notice a turn, or an interruption."""


def brief(speech: Speech) -> Speech:
    """The first second of its voice: a turn need not be long to be answered."""
    begin = round(speech.voiced_from_s * 1000) * SAMPLES_PER_MS
    return Speech.of(speech.samples[begin : begin + BRIEF_MS * SAMPLES_PER_MS])
