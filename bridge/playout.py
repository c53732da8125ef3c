"""What the agent says, on its way to the room: handed over, heard, flushed. Pure; time is an argument.

Bounded in time, policy drop-newest: a peer that sends minutes of speech at once is cut, not buffered without end.
"""

from collections import deque

from bridge.spec import BYTES_PER_MS

MAX_QUEUED_MS = 60_000
"""A minute of unheard speech. The vendor paces at real time, so a healthy queue holds some tens of milliseconds."""

MAX_FLUSHED_REPLIES = 16
"""Ids of flushed replies remembered, so that their late audio is dropped; late means seconds, not turns."""

FRAME_MS = 50
"""The most that goes into one frame."""

STEP_MS = 10
"""LiveKit's clock: a frame is a whole number of these."""


class Playout:
    """The queue between the voice and the room's audio source."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._queued_bytes = 0
        self._reply = ""
        self._handed_bytes = 0
        self._flushed: dict[str, int] = {}
        """Flushed replies, oldest first: how many milliseconds of each were heard."""
        self.dropped_ms = 0

    @property
    def queued_ms(self) -> int:
        """Milliseconds waiting to be handed over."""
        return self._queued_bytes // BYTES_PER_MS

    def push(self, reply: str, pcm: bytes) -> bool:
        """Queue speech of a reply. Return False when it was dropped: flushed reply, or the queue is full."""
        if not pcm or (reply and reply in self._flushed):
            return False
        if self._queued_bytes + len(pcm) > MAX_QUEUED_MS * BYTES_PER_MS:
            self.dropped_ms += len(pcm) // BYTES_PER_MS
            return False
        if reply != self._reply:
            self.finish()  # half a sample left over from the last reply would shift every sample of this one
            self._reply, self._handed_bytes = reply, 0
        self._pieces.append(pcm)
        self._queued_bytes += len(pcm)
        return True

    def take(self) -> bytes | None:
        """The next frame, 10 to 50 ms in whole steps, or None when less than a step waits.

        A rest shorter than a step waits for more; `finish` pads it.
        """
        whole = self._queued_bytes // (STEP_MS * BYTES_PER_MS) * STEP_MS * BYTES_PER_MS
        size = min(whole, FRAME_MS * BYTES_PER_MS)
        if size == 0:
            return None
        frame = bytearray()
        while len(frame) < size:
            piece = self._pieces.popleft()
            missing = size - len(frame)
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
                piece = piece[:missing]
            frame += piece
        self._queued_bytes -= size
        self._handed_bytes += size
        return bytes(frame)

    def finish(self) -> None:
        """The reply is complete: pad a rest to a whole step with silence so that its last samples are heard."""
        step = STEP_MS * BYTES_PER_MS
        rest = self._queued_bytes % step
        if rest:
            self._pieces.append(bytes(step - rest))
            self._queued_bytes += step - rest

    def flush(self, *, ahead_ms: int, open_reply: str = "") -> int:
        """Drop what was not heard, and ignore what still comes of this reply.

        Args:
            ahead_ms: What the audio source still held when it was cleared.
            open_reply: A reply that has opened and may not have sent any audio yet; what it sends is ignored too.

        Returns:
            Milliseconds of the reply that the caller has heard. A second call returns the same number.
        """
        heard_ms = self.heard_ms(self._reply, ahead_ms=ahead_ms)
        self._handed_bytes = heard_ms * BYTES_PER_MS
        self._forget(self._reply, heard_ms)
        self._forget(open_reply, 0)
        self._pieces.clear()
        self._queued_bytes = 0
        return heard_ms

    def heard_ms(self, reply: str, *, ahead_ms: int) -> int:
        """Milliseconds of a reply that the caller has heard so far, or had when it was flushed; 0 for one unknown."""
        if reply in self._flushed:
            return self._flushed[reply]
        return max(self._handed_bytes // BYTES_PER_MS - ahead_ms, 0) if reply == self._reply else 0

    def _forget(self, reply: str, heard_ms: int) -> None:
        if not reply or reply in self._flushed:
            return
        self._flushed[reply] = heard_ms
        while len(self._flushed) > MAX_FLUSHED_REPLIES:
            del self._flushed[next(iter(self._flushed))]
