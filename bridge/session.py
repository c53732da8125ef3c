"""One call: from the join to the leave.

`carry` owns every task of the call and none is alive when it returns, raises or is cancelled. It decides nothing about
who may hold the room: it asks its `Permit`. Every way a call can end is one `Ending`.
"""

import asyncio

import structlog

from bridge import metrics, room
from bridge.call_end import CallEnd
from bridge.conversation import Conversation
from bridge.ear import Ear
from bridge.mouth import Mouth
from bridge.presence import Presence
from bridge.spec import Cue, Ending, Journal, LinkSpec, Outcome, Permit, SessionSpec, Stop
from bridge.voice import link as voice_link

log = structlog.get_logger()

PASSED_S = 2.0
"""How long the former owner stays for the next one to put it out. Its join takes a tenth of a second."""


async def carry(
    spec: SessionSpec,
    *,
    permit: Permit,
    journal: Journal,
    stop: Stop,
    farewells: asyncio.TaskGroup,
    cue: Cue | None = None,
) -> Outcome:
    """Carry one call and return how it ended.

    Args:
        permit: Asked before joining and for every frame spoken.
        journal: Told each step; must not block.
        stop: By which the owner of the room ends the call.
        farewells: Owner of the good-byes to the voice peer. They take up to `spec.link.farewell_s`, and the room
            should not wait for them.
        cue: With one, the call stands by first: its voice session is opened, and the room is joined when the cue says
            so. A voice that fails before that ends the call; nothing was joined then.

    Whatever goes wrong inside is an outcome, not an exception: a bug ends this call as `Ending.BUG` and no other.
    When cancelled, the room is left first (bounded by the SDK's limits), then the cancellation goes on.
    """
    call = _Call(spec, permit, journal, stop, farewells, cue)
    try:
        try:
            await _run(call, stop)
            if call.over.ending is Ending.PASSED:
                await call.presence.until_evicted(limit_s=PASSED_S)
        finally:
            await call.presence.leave()
    except* Exception as bugs:  # the boundary of a call: its neighbours in this process go on
        log.error("call_bug", exc_info=bugs)
        call.over.end(Ending.BUG)
    return call.outcome()


async def warm_up(link: LinkSpec) -> None:
    """Do what the first call of a process would be late for: start the SDK's media engine, read whom TLS trusts."""
    await room.warm_up()
    voice_link.warm_up(link)


async def _run(call: "_Call", stop: Stop) -> None:
    """The tasks of a call, until it is over."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(call.be_in_room(), name="room"),
            group.create_task(call.hold_voice(), name="voice"),
            group.create_task(call.presence.speak(), name="say"),
            group.create_task(call.presence.confirm_doubts(), name="confirm"),
            group.create_task(call.mouth.show(), name="show"),
            group.create_task(call.mouth.tell_quiet(), name="quiet"),
            group.create_task(call.ear.listen(), name="listen"),
            group.create_task(call.ear.pass_on(), name="pass_on"),
            group.create_task(call.obey(stop), name="obey"),
        ]
        await call.over.wait()
        for task in tasks:
            task.cancel()


class _Call:
    """The parts of one call. What they share is touched between awaits only."""

    def __init__(
        self,
        spec: SessionSpec,
        permit: Permit,
        journal: Journal,
        stop: Stop,
        farewells: asyncio.TaskGroup,
        cue: Cue | None,
    ) -> None:
        self._is_awaited = spec.is_awaited or cue is not None
        self._cue = cue
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self.mouth = Mouth(permit, journal, spec.voice)
        self.ear = Ear(journal)
        self.over = CallEnd(stop, silence=self.mouth.hush)
        self.presence = Presence(spec, permit, journal, self.over, self.mouth, self.ear)
        self.conversation = Conversation(
            spec, journal, self.over, self.mouth, self.ear, farewells=farewells, stands_by=cue is not None
        )

    async def be_in_room(self) -> None:
        """Task: be there, at once or when the cue says so."""
        if self._cue is None:
            await self.presence.be_there()
            return
        self.presence.prepare()
        await self.conversation.ready.wait()
        self._cue.ready()
        turns = await self._cue.wait()
        if turns is None:
            self.over.end(Ending.NOT_NEEDED)
            return
        self._began_at = self._loop.time()
        async with asyncio.TaskGroup() as group:  # the caller waits for the join, which waits for nothing
            group.create_task(self.presence.be_there(), name="join")
            group.create_task(self.conversation.go(turns), name="go")

    async def hold_voice(self) -> None:
        """Task: have a voice, from the beginning when somebody is known to wait, else from when somebody comes."""
        if not self._is_awaited:
            await self.presence.somebody.wait()
        await self.conversation.hold_voice()

    async def obey(self, stop: Stop) -> None:
        """Task: end when the owner of the room says so."""
        self.over.end(await stop.wait())

    def outcome(self) -> Outcome:
        """What the call was; counted here, once."""
        metrics.CALLS.labels(self.over.ending.value).inc()
        metrics.AUDIO_DROPPED_MS.labels("in").inc(self.ear.dropped_ms)
        metrics.AUDIO_DROPPED_MS.labels("out").inc(self.mouth.dropped_ms)
        metrics.FRAMES_MUTED.inc(self.mouth.frames_muted)
        first_sound_at = self.mouth.first_sound_at
        return Outcome(
            ending=self.over.ending,
            code=self.over.code,
            served=dict(self.presence.served),
            joined_ms=self.presence.joined_ms,
            voice_ready_ms=self.conversation.ready_ms,
            first_sound_ms=None if first_sound_at is None else self._ms_since_start(first_sound_at),
            call_ms=self._ms_since_start(self._loop.time()),
            replies=self.mouth.replies,
            barge_ins=self.mouth.barge_ins,
            voice_sessions=self.conversation.voice_sessions,
            heard_ms=self.ear.heard_ms,
            dropped_in_ms=self.ear.dropped_ms,
            dropped_out_ms=self.mouth.dropped_ms,
            frames_muted=self.mouth.frames_muted,
        )

    def _ms_since_start(self, at: float) -> int:
        return int((at - self._began_at) * 1000)
