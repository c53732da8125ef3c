"""The caller's side of a call: the chosen microphone, into the backlog, on to the voice."""

import asyncio
import contextlib
from collections import deque
from time import perf_counter

from bridge import metrics
from bridge.audio import BACKLOG_MS, Backlog, silence
from bridge.errors import VoiceClosed
from bridge.listen import Solo
from bridge.room import HEAR_MS, MicIn, hear
from bridge.spec import Journal
from bridge.voice import Voice

FILL_MS = 100
"""A microphone that sends nothing for so long (muted, not published) is heard as silence: the voice peer needs trailing
silence to notice that a turn is over."""


LATE_S = HEAR_MS / 1000
"""Later than a frame's length, and at least one frame has come meanwhile."""


class Ear:
    """Hears one microphone at a time and passes it on. Two tasks: `listen` and `pass_on`."""

    def __init__(self, journal: Journal) -> None:
        self.heard_ms = 0
        """Milliseconds of callers' microphones that came in."""
        self._journal = journal
        self._link: Voice | None = None
        self._backlog = Backlog()
        self._heard_at: deque[float | None] = deque(maxlen=BACKLOG_MS // HEAR_MS)
        """When each frame in the backlog came, None for silence of ours; empty while the backlog is behind. Full, it
        drops its oldest, as the backlog does."""
        self._is_behind = True
        """The backlog has frames from a time when no voice listened: those wait by design, and any after them."""
        self._arrived = asyncio.Event()
        """Set when a frame, or a link to send it on, has come."""
        self._solo = Solo()
        self._mics: dict[str, MicIn] = {}
        self._callers: set[str] = set()
        self._hearing: str | None = None
        self._chosen = asyncio.Event()

    @property
    def dropped_ms(self) -> int:
        """Milliseconds of callers' words dropped because the voice was away too long."""
        return self._backlog.dropped_ms

    def attach(self, link: Voice) -> None:
        """A voice listens from now on; it gets what was kept for it first."""
        self._link = link
        self._arrived.set()

    def detach(self) -> None:
        """The voice went away: words are kept for the next one, and silence before them is not."""
        self._link = None
        self._fall_behind()
        self._backlog.away()

    def caller_in(self, participant_sid: str) -> None:
        """Somebody to be heard."""
        self._callers.add(participant_sid)
        self._choose()

    def person_out(self, participant_sid: str) -> None:
        """Somebody left, with every microphone."""
        self._callers.discard(participant_sid)
        self._mics = {sid: mic for sid, mic in self._mics.items() if mic.participant_sid != participant_sid}
        self._solo.gone(participant_sid)
        self._choose()

    def mic_in(self, mic: MicIn) -> None:
        """A microphone of anybody; whether its owner is a caller may be known later."""
        self._mics[mic.track_sid] = mic
        self._choose()

    def mic_out(self, track_sid: str) -> None:
        """It is gone."""
        self._mics.pop(track_sid, None)
        self._solo.removed(track_sid)
        self._choose()

    def forget_mics(self) -> None:
        """We left that room: its tracks are gone, also where the next room names one the same. Callers stay known, and
        what they said is still passed on."""
        self._mics = {}
        self._solo = Solo()
        self._choose()

    async def listen(self) -> None:
        """Task: the chosen microphone's frames into the backlog; begins anew when another one is chosen."""
        while True:
            self._chosen.clear()
            mic = self._mics.get(self._hearing) if self._hearing else None
            async with asyncio.TaskGroup() as group:
                hearing = group.create_task(self._hear(mic), name="hear") if mic else None
                await self._chosen.wait()
                if hearing is not None:
                    hearing.cancel()

    async def pass_on(self) -> None:
        """Task: the backlog to the voice, and silence where the microphone gives none."""
        loop = asyncio.get_running_loop()
        was_late = False
        while True:
            is_pacing = self._link is not None and self._backlog.queued_ms > 0
            wait_s = self._backlog.ready_in_s() if is_pacing else FILL_MS / 1000
            waits_from = loop.time()
            try:
                async with asyncio.timeout(wait_s):
                    await self._arrived.wait()
            except TimeoutError:
                # Whoever woke up late has frames waiting that came meanwhile: silence would only delay them. But once,
                # not each time: a microphone may be muted on a machine that is always late.
                is_late = not was_late and loop.time() - waits_from > wait_s + LATE_S
                if self._link is not None and not self._backlog.queued_ms and not is_late:
                    self._keep(silence(FILL_MS), heard_at=None)
                was_late = is_late
            self._arrived.clear()
            while self._link is not None and (frame := self._backlog.pop(now=loop.time())) is not None:
                heard_at = self._heard_at.popleft() if self._heard_at else None
                try:
                    await self._link.send_audio(frame)
                except VoiceClosed:
                    self._link = None  # whoever reads the link sees the same, and decides
                    self._fall_behind()
                    break
                if heard_at is not None:
                    metrics.CALLER_ADDED_SECONDS.observe(perf_counter() - heard_at)
            if self._link is not None and not self._backlog.queued_ms:
                self._is_behind = False

    async def _hear(self, mic: MicIn) -> None:
        async with contextlib.aclosing(hear(mic)) as frames:
            async for frame in frames:
                if not self.heard_ms:
                    self._journal.event("caller_heard")
                self.heard_ms += HEAR_MS
                self._keep(frame, heard_at=perf_counter())
                self._arrived.set()

    def _keep(self, frame: bytes, *, heard_at: float | None) -> None:
        self._backlog.push(frame, listening=self._link is not None)
        if not self._is_behind:
            self._heard_at.append(heard_at)

    def _fall_behind(self) -> None:
        self._is_behind = True
        self._heard_at.clear()

    def _choose(self) -> None:
        for mic in self._mics.values():
            if mic.participant_sid in self._callers:
                self._solo.added(mic.track_sid, mic.participant_sid)
        if self._solo.current != self._hearing:
            self._hearing = self._solo.current
            self._chosen.set()
