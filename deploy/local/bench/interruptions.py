"""How long an agent is heard on after its voice knows of an interruption, from both ends of the same call. Pure.

The simulator tells when it began and when it cut each reply; the caller noted when it heard what. Between the two lies
also the way of a frame through encoder, network and the caller's jitter buffer, which is none of ours and cannot be
measured beside: it is estimated by the beginnings of replies, which go the same way with nothing in front of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pybase64

from bridge.caller.hearing import Stretch, fell_silent_at, onset_after
from bridge.caller.sound import FRAME_MS, FRAME_S, is_audible
from bridge.simulator.lines import Speech
from bridge.simulator.sound import FRAME_MS as SAID_FRAME_MS

SILENT_S = 0.3
"""An agent that was cut has fallen silent when nothing was heard of it for so long; its next reply comes later."""

ONSET_WITHIN_S = 1.0
"""A reply that was not heard so long after it began was not heard at all: it was flushed, or the caller missed it."""

VOICED_MS = 120
"""So much of a reply must have been voice up to its cut. One that was cut while it drew breath fell silent before."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One interruption, from the moment in which the voice told of it.

    Attributes:
        last_heard_s: From then to the agent's last audible frame, which arrived at the caller.
        way_s: What its reply's beginning took to be heard; None when that was not clear.
    """

    last_heard_s: float
    way_s: float | None


@dataclass(frozen=True, slots=True)
class CallHeard:
    """What one call tells.

    Attributes:
        ways_s: From a reply's first frame being due at the voice to its arrival at the caller, for each reply heard.
        cuts: The interruptions that struck a voiced part.
        unclear: How many did not, or were not followed by silence.
    """

    ways_s: Sequence[float]
    cuts: Sequence[Cut]
    unclear: int


def call_heard(
    said: Sequence[Mapping[str, Any]],
    heard: Sequence[Stretch],
    *,
    line: Speech,
    monotonic: Callable[[float], float],
    known_until: float,
) -> CallHeard:
    """Bring the two ends of a call together.

    Args:
        said: `ReplySaid` as the simulator's port tells them.
        heard: The stretches in which the caller heard the agent.
        line: What every reply that is cut says.
        monotonic: From epoch milliseconds to the clock of `heard`.
        known_until: Up to when the caller listened.
    """
    ways_s: list[float] = []
    cuts: list[Cut] = []
    unclear = 0
    for reply in said:
        began_at = monotonic(reply["began_unix_ms"])
        onset_at = onset_after(heard, began_at)
        way_s = None
        if onset_at is not None and onset_at - began_at < ONSET_WITHIN_S:
            way_s = onset_at + FRAME_S - began_at
            ways_s.append(way_s)
        if reply["cut_unix_ms"] is None:
            continue
        cut_at = monotonic(reply["cut_unix_ms"])
        last_at = fell_silent_at(heard, cut_at, for_s=SILENT_S, known_until=known_until)
        if last_at is None or not is_voiced_up_to(line, reply["frames_sent"]):
            unclear += 1
        else:
            cuts.append(Cut(last_at - cut_at, way_s))
    return CallHeard(ways_s, cuts, unclear)


def is_voiced_up_to(line: Speech, frames: int) -> bool:
    """Whether a line was voice all through the last `VOICED_MS` before so many frames, as finely as callers listen."""
    first = frames - VOICED_MS // SAID_FRAME_MS
    if first < 0 or frames > len(line.frames):
        return False
    together = FRAME_MS // SAID_FRAME_MS
    return all(
        is_audible(np.frombuffer(b"".join(map(pybase64.b64decode, line.frames[at : at + together])), dtype="<i2"))
        for at in range(first, frames, together)
    )
