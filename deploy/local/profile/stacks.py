"""What py-spy saw, as functions by their own time. Pure: reads its `raw` format, a stack and a count in each line."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WAITS = frozenset(
    {
        ("EpollSelector.select", "selectors.py"),
        ("_worker", "concurrent/futures/thread.py"),
        ("_sender_of_term", "pool/carrier_main.py"),
        ("hear_parent.<locals>.hear", "pool/carrier_main.py"),
    }
)
"""Whose own code does next to nothing but wait. py-spy takes some of a thread's waits in native code for work."""

NATIVE_WAITS = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
"""uvloop's loop waits in native code, under a function of Python's that also runs what there is to do."""

_FRAME = re.compile(r"^(?P<function>.*) \((?P<place>[^()]*)\)$")
_LINE_NUMBER = re.compile(r":\d+$")


@dataclass(frozen=True, slots=True)
class Function:
    """One function, and the share of all samples in which it was the innermost of its kind."""

    name: str
    place: str
    """A file, or a library; empty where that is not known."""
    percent: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What was seen of the threads that run Python, while they ran.

    Attributes:
        samples: How often one was seen running.
        waiting: How often one was seen to wait; no part of `samples`.
        python: By own time, the native code that they call included.
        native: The innermost native code, by own time; empty where native stacks were not recorded.
    """

    samples: int
    waiting: int
    python: Sequence[Function]
    native: Sequence[Function]


def parse(raw: str) -> Profile:
    """Read the raw format: frames from the outermost to the innermost with `;` between, a blank, a count."""
    python: Counter[tuple[str, str]] = Counter()
    native: Counter[tuple[str, str]] = Counter()
    samples = waiting = 0
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if not stack or not count.isdecimal():
            continue
        frames = [_frame(text) for text in stack.split(";")]
        innermost = next((frame for frame in reversed(frames) if _is_python(frame)), None)
        if innermost in WAITS or frames[-1][0] in NATIVE_WAITS:
            waiting += int(count)
            continue
        samples += int(count)
        if innermost is not None:
            python[innermost] += int(count)
        if not _is_python(frames[-1]):
            native[frames[-1]] += int(count)
    return Profile(samples, waiting, _ranked(python, samples), _ranked(native, samples))


def _frame(text: str) -> tuple[str, str]:
    found = _FRAME.match(text)
    if found is None:
        return text, ""
    return found["function"], _LINE_NUMBER.sub("", found["place"])


def _is_python(frame: tuple[str, str]) -> bool:
    _, place = frame
    return place.endswith((".py", ".pyx")) or place.startswith("<")


def _ranked(counted: "Counter[tuple[str, str]]", samples: int) -> list[Function]:
    ranked: Iterable[tuple[tuple[str, str], int]] = counted.most_common()
    return [Function(name, place, count * 100 / samples) for (name, place), count in ranked]
