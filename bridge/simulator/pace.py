"""Whether a client sends audio no faster than it is spoken. Pure."""

RATE_LIMIT = 1.25
"""Input may be this much faster than real time, over two seconds as documented: hence the burst."""
BURST_MS = 500
COMPLAIN_EVERY_S = 1.0


class Pace:
    """How far ahead of real time a client's audio is."""

    def __init__(self, now: float) -> None:
        self._ahead_ms = 0.0
        self._at = now
        self._complained_at = float("-inf")

    def keeps(self, audio_ms: float, now: float) -> bool:
        """Count audio that comes now, unless it is too much; a single chunk of any length is never too much."""
        self._ahead_ms = max(0.0, self._ahead_ms - (now - self._at) * 1000 * RATE_LIMIT)
        self._at = now
        if self._ahead_ms > 0 and self._ahead_ms + audio_ms > BURST_MS:
            return False
        self._ahead_ms += audio_ms
        return True

    def may_complain(self, now: float) -> bool:
        """Whether the last complaint was long enough ago; if so, this is the last one."""
        if now - self._complained_at < COMPLAIN_EVERY_S:
            return False
        self._complained_at = now
        return True
