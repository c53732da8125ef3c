"""How times and counts look to a person."""


def lasting(ms: int) -> str:
    """A length of time: 340 ms, 4.1 s, 41 s, 12 min, 3.5 h, 2 d."""
    seconds = ms / 1000
    if ms < 1000:
        return f"{ms} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} d"


def count_of(number: int, noun: str) -> str:
    """1 caller, 2 callers."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
