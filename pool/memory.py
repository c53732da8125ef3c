"""What was said in a call, kept for the next owner of its room: turns as texts, and their way to Redis.

The audio path only puts a turn into a bounded list. One task of the carrier writes; what it cannot write in time is
dropped and counted, because no call waits for its memory.
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal

import structlog
from redis.exceptions import RedisError

from bridge import MAX_TURN_CHARS, MAX_TURNS, Said
from pool import metrics
from pool.base.outage import outage_of
from pool.registry import Rooms

log = structlog.get_logger()

VERSION = 1
"""Of the texts; one of another version is not guessed at."""

MAX_TEXT_CHARS = 4 * 1024
"""Of one stored text. A longer one is none that we wrote, and not worth parsing."""

PENDING_BOUND = MAX_TURNS
"""Turns of one call on their way to Redis, which keeps no more either. Oldest dropped."""

WRITE_LIMIT_S = 1.0
AGAIN_S = 0.5
"""After a round in which Redis did not answer."""

WHO: Mapping[str, Literal["caller", "agent"]] = {"c": "caller", "a": "agent"}


def to_text(said: Said, *, fence: int, number: int) -> str:
    """A turn as it is stored.

    Args:
        fence: The grant under which it was said, and `number`, counted within that grant: together they make every
            text of a room another one, so that one written twice is found out, and newer ones can be told apart.
    """
    words = said.text[:MAX_TURN_CHARS].encode(errors="replace").decode()  # half a surrogate pair is no UTF-8
    fields: dict[str, int | str] = {"v": VERSION, "f": fence, "n": number, "w": said.who[0], "t": words}
    if said.cut_ms is not None:
        fields["c"] = said.cut_ms
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def turns_of(texts: Iterable[str]) -> tuple[Said, ...]:
    """The turns that stored texts hold, in their order. One written twice counts once; one we cannot read is dropped,
    and counted: another release wrote it, or somebody else."""
    turns = []
    for text in dict.fromkeys(texts):
        said = _said_of(text)
        if said is None:
            metrics.MEMORY_DROPPED.labels("unreadable").inc()
        else:
            turns.append(said)
    return tuple(turns)


def newer(texts: Iterable[str], *, than: Iterable[str]) -> tuple[str, ...]:
    """Those texts that were not there before, in their order."""
    known = set(than)
    return tuple(text for text in texts if text not in known)


def _said_of(text: str) -> Said | None:
    if len(text) > MAX_TEXT_CHARS:
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match fields:
        case {"v": int(version), "w": "c" | "a" as who, "t": str(words)} if version == VERSION and words.strip():
            cut_ms = fields.get("c")
            is_cut = isinstance(cut_ms, int) and not isinstance(cut_ms, bool) and cut_ms >= 0
            return Said(WHO[who], words[:MAX_TURN_CHARS], cut_ms if is_cut else None)
    return None


class _Unwritten:
    """What one call has still to write."""

    def __init__(self) -> None:
        self.pending: deque[str] = deque()
        self.numbered = 0

    def put_back(self, texts: Iterable[str]) -> None:
        """Before what came since; the oldest beyond the bound are dropped."""
        self.pending.extendleft(reversed(tuple(texts)))
        self.bound()

    def bound(self) -> None:
        """Drop the oldest beyond the bound, and count them."""
        while len(self.pending) > PENDING_BOUND:
            self.pending.popleft()
            metrics.MEMORY_DROPPED.labels("overflow").inc()


class MemoryWriter:
    """The turns of a carrier's calls on their way to Redis: one `remember` a call, whatever has gathered meanwhile."""

    def __init__(self, carrier_id: str, rooms: Rooms) -> None:
        self._carrier_id = carrier_id
        self._rooms = rooms
        self._unwritten: dict[tuple[str, int], _Unwritten] = {}
        """By room and fence; at most as many as the carrier has calls."""
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()

    def note(self, room: str, fence: int, said: Said) -> None:
        """Keep a turn of the call under this fence. Never blocks."""
        if not said.text.strip():
            return
        unwritten = self._unwritten.setdefault((room, fence), _Unwritten())
        unwritten.numbered += 1
        unwritten.pending.append(to_text(said, fence=fence, number=unwritten.numbered))
        unwritten.bound()
        self._news.set()

    async def write_forever(self) -> None:
        """Task: write what there is, as it comes."""
        while True:
            await self._news.wait()
            self._news.clear()
            for room, fence in list(self._unwritten):
                if not await self._write(room, fence):  # nor would it take the others'
                    await asyncio.sleep(AGAIN_S)
                    self._news.set()
                    break

    async def flush(self, room: str, fence: int, *, limit_s: float = WRITE_LIMIT_S) -> bool:
        """Write what this call has said so far. False: Redis did not take it in time; it may have been written."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._write(room, fence)
        except TimeoutError:
            return False

    def close(self, room: str, fence: int) -> None:
        """The call is over: what is not written now never will be."""
        unwritten = self._unwritten.pop((room, fence), None)
        if unwritten is not None and unwritten.pending:
            metrics.MEMORY_DROPPED.labels("unwritten").inc(len(unwritten.pending))

    async def _write(self, room: str, fence: int) -> bool:
        """One `remember`; false when it is to be tried again. One at a time, so that turns stay in their order."""
        async with self._writing:
            unwritten = self._unwritten.get((room, fence))
            if unwritten is None or not unwritten.pending:
                return True
            texts = tuple(unwritten.pending)
            unwritten.pending.clear()
            try:
                async with asyncio.timeout(WRITE_LIMIT_S):
                    is_kept = await self._rooms.remember(self._carrier_id, room, fence, texts)
            except (RedisError, OSError) as error:
                log.debug("memory_not_written", room=room, error=type(error).__name__)
                if outage_of(error) is not None:
                    unwritten.put_back(texts)
                    return False
                metrics.MEMORY_DROPPED.labels("refused").inc(len(texts))  # about these texts alone
                return True
            except asyncio.CancelledError:
                unwritten.put_back(texts)
                raise
            if not is_kept:
                metrics.MEMORY_DROPPED.labels("not_ours").inc(len(texts))
            return True
