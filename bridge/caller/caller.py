"""The synthetic caller: an ordinary participant with a voice and ears, and the adapter to the LiveKit SDK.

    async with Caller(url, key=key, secret=secret, room="demo") as caller:
        await caller.agent_heard(timeout_s=20)
        spoken = await caller.say(hello())
        heard_at = await caller.until_agent_audible(timeout_s=10, since=spoken.ended_at)

What was noticed is in `caller.witness`, times on the loop's monotonic clock. The SDK's callbacks only write there.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import structlog
from livekit import rtc
from livekit.rtc.participant import PublishTrackError

from bridge.caller.ear import Ear
from bridge.caller.errors import CallOver, CannotJoin, JoinFault, NotInTime
from bridge.caller.mouth import Mouth, Spoken
from bridge.caller.sound import FRAME_S, Samples, Speech, is_audible
from bridge.caller.tape import Side, Tape
from bridge.caller.witness import AgentStay, Witness
from bridge.shield import see_through
from bridge.tokens import caller_token

log = structlog.get_logger()

T = TypeVar("T")

SIGNAL_TIMEOUT_S = 5.0
"""One attempt of the SDK at the signal connection; it makes four, and waits 15 s for media in each."""

JOIN_S = 45.0
"""After this we stop waiting; a server on the same machine answers in a tenth of a second."""

LEAVE_S = 5.0
EARS_S = 0.5
MOUTH_S = 1.0
HANG_UP_S = MOUTH_S + LEAVE_S + EARS_S + 1.0
"""More than its steps may take together."""

_REFUSED = re.compile(r"\b(401|403|unauthorized|forbidden)\b", re.IGNORECASE)
"""Words in the SDK's sentence that tell a refusal from a network failure; its error carries nothing else."""

STATE_ATTRIBUTE = "lk.agent.state"
AGENT_KIND = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT

MAX_BITRATE = 48_000
"""At this the encoder costs a third of what the default does in silence (measured), and a caller is mostly silent."""


def random_identity() -> str:
    """An identity nobody else in the room has."""
    return f"caller-{secrets.token_hex(4)}"


class Caller:
    """One call from the caller's side, an async context manager: in the room from enter to exit or `hang_up`.

    Leaving it ends every task it started. Awaiting methods raise `NotInTime` at their limit and `CallOver` when the
    room connection is gone; the body's own exception is never replaced or wrapped.
    """

    def __init__(
        self,
        url: str,
        *,
        room: str,
        key: str = "",
        secret: str = "",
        token: str = "",
        identity: str = "",
        record_max_s: float = 0.0,
    ) -> None:
        """
        Args:
            key, secret: mint the token with; not needed when `token` is given.
            identity: random by default; ignored with `token`.
            record_max_s: keep a recording of this length in `tape`; 0 keeps none.
        """
        self.room_name = room
        self.identity = identity or random_identity()
        self.witness = Witness()
        self.tape: Tape | None = None
        # Moments on the monotonic clock; 0.0 until they came.
        self.connect_began_at = 0.0
        self.connected_at = 0.0
        self.left_at = 0.0
        # Interruptions of our own connection: (when, "reconnecting" | "reconnected").
        self.connection: list[tuple[float, str]] = []
        self._url = url
        self._token = token or caller_token(key, secret, room=room, identity=self.identity)
        self._record_max_s = record_max_s
        self._group = asyncio.TaskGroup()
        # Open ears by track sid; their tasks stay in `_listening` until they have closed their streams.
        self._ears: dict[str, tuple[AgentStay, Ear]] = {}
        self._listening: set[asyncio.Task[None]] = set()
        self._over: str = ""
        self._changed = asyncio.Event()
        self._waiting = 0
        # One departure at a time; whoever comes second waits for it.
        self._hanging_up = asyncio.Lock()

    # ---- coming and going

    async def __aenter__(self) -> "Caller":
        self._loop = asyncio.get_running_loop()
        self._room = rtc.Room()
        self._mouth = Mouth(self._spoke)
        await self._group.__aenter__()
        self._speaking = self._group.create_task(self._mouth.run(), name="caller_mouth")
        try:
            await self._connect()
            await self._publish()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.hang_up()
        except asyncio.CancelledError as late:
            kind, error, trace = type(late), late, late.__traceback__
        # The group hears of a cancellation alone, so that it neither wraps nor replaces what the body raised.
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)

    async def hang_up(self) -> None:
        """Leave the room as a person does, by `CLIENT_INITIATED`, within `HANG_UP_S`. Twice is once.

        Once begun it is seen through: a cancellation is held back until we have left.
        """
        async with self._hanging_up:
            if not self.left_at:
                await see_through(self._leave(), name="caller_hang_up", limit_s=HANG_UP_S)

    async def _leave(self) -> None:
        self._end("hung up")
        self._mouth.shut()
        await self._finished(MOUTH_S, self._speaking)
        # A departure that takes too long is logged, and left to itself.
        with contextlib.suppress(TimeoutError):
            await see_through(self._room.disconnect(), name="caller_disconnect", limit_s=LEAVE_S)
        self.left_at = self._loop.time()
        for track_sid in tuple(self._ears):
            self._shut_ear(track_sid)
        await self._finished(EARS_S, *self._listening)
        await self._mouth.source.aclose()

    async def _finished(self, limit_s: float, *tasks: asyncio.Task[Any]) -> None:
        """Wait for tasks, cancel those that outlive the limit."""
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=limit_s)
        for task in late:
            log.warning("caller_task_late", task=task.get_name())
            task.cancel()

    async def _connect(self) -> None:
        self._watch(self._room)
        self.connect_began_at = self._loop.time()
        if self._record_max_s:
            self.tape = Tape(started_at=self.connect_began_at, max_s=self._record_max_s)
        options = rtc.RoomOptions(auto_subscribe=True, connect_timeout=SIGNAL_TIMEOUT_S)
        try:
            await see_through(self._room.connect(self._url, self._token, options), name="connect", limit_s=JOIN_S)
        except rtc.ConnectError as error:
            is_refused = _REFUSED.search(error.message) is not None
            raise CannotJoin(JoinFault.REFUSED if is_refused else JoinFault.UNREACHABLE) from None
        except TimeoutError:
            raise CannotJoin(JoinFault.UNREACHABLE) from None
        self.connected_at = self._loop.time()
        for participant in self._room.remote_participants.values():
            self._on_connected(participant)

    async def _publish(self) -> None:
        track = rtc.LocalAudioTrack.create_audio_track("caller-voice", self._mouth.source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        options.audio_encoding.max_bitrate = MAX_BITRATE
        try:
            publishing = self._room.local_participant.publish_track(track, options)
            await see_through(publishing, name="publish_track", limit_s=JOIN_S)
        except (PublishTrackError, TimeoutError):
            raise CannotJoin(JoinFault.NO_MICROPHONE) from None

    async def reconnect_fully(self, *, timeout_s: float = 20.0) -> None:
        """Make the SDK rebuild its session, as after a long loss of network; returns when we are back.

        To the server we leave and join anew under the same identity.
        """
        before = len(self.connection)
        scenario = self._room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        await see_through(scenario, name="simulate_scenario", limit_s=timeout_s)
        await self._until(
            lambda: any(word == "reconnected" for _, word in list(self.connection)[before:]) or None,
            what="the connection did not come back",
            timeout_s=timeout_s,
        )

    # ---- speaking

    async def say(self, speech: Speech | bytes) -> Spoken:
        """Speak (bytes are 24 kHz mono PCM16) and return when our voice began and ended to sound.

        Raises:
            CallOver: we hung up before it was all said.
        """
        return await self._mouth.say(Speech.of_pcm16(speech) if isinstance(speech, bytes) else speech)

    # ---- waiting

    async def agent_seen(self, timeout_s: float = 20.0, *, since: float = 0.0) -> AgentStay:
        """The first agent that came at or after `since` (default: ever)."""
        return await self._until(
            lambda: next((stay for stay in self.witness.stays if stay.seen_at >= since), None),
            what="no agent was seen in the room",
            timeout_s=timeout_s,
        )

    async def agent_heard(self, timeout_s: float = 20.0, *, since: float = 0.0) -> float:
        """When the first audible frame arrived of an agent that came at or after `since` (default: ever)."""

        def heard() -> float | None:
            times = (stay.heard_at for stay in self.witness.stays if stay.seen_at >= since)
            return min((at for at in times if at is not None), default=None)

        return await self._until(heard, what="no agent was heard", timeout_s=timeout_s)

    async def until_agent_audible(self, timeout_s: float = 20.0, *, since: float | None = None) -> float:
        """When an agent was next audible at or after `since` (default: now); `since` itself if it was just then."""
        start = self._loop.time() if since is None else since

        def audible() -> float | None:
            later = (s for s in self.witness.audible() if s.ended_at > start)
            return next((max(s.started_at + FRAME_S, start) for s in later), None)

        return await self._until(audible, what="the agent was not audible", timeout_s=timeout_s)

    async def until_agent_silent(self, for_ms: float, timeout_s: float = 20.0) -> float:
        """Wait until no agent has been audible for `for_ms`; returns when the last audible frame arrived.

        An agent that was never audible counts as silent since we connected.
        """

        def silent() -> float | None:
            last = max(self.witness.last_audible_at or 0.0, self.connected_at)
            return last if self.known_until() - last >= for_ms / 1000 else None

        return await self._until(
            silent, what="the agent did not fall silent", timeout_s=timeout_s, tick_s=for_ms / 1000
        )

    async def fell_silent(self, after: float, for_ms: float, timeout_s: float = 20.0) -> float:
        """When the agent that was audible at `after` stopped: its last audible frame before `for_ms` of silence.

        An agent that was not audible at `after` never did: that is `NotInTime`, too.
        """

        def stopped() -> float | None:
            return self.witness.fell_silent_at(after, for_s=for_ms / 1000, known_until=self.known_until())

        return await self._until(stopped, what="the agent did not stop speaking", timeout_s=timeout_s, tick_s=0.1)

    async def stay(self, seconds: float) -> None:
        """Stay in the room for so long.

        Raises:
            CallOver: it closed on us meanwhile.
        """
        with contextlib.suppress(NotInTime):
            await self._until(lambda: None, what="nothing", timeout_s=seconds)

    async def agent_gone(self, timeout_s: float = 20.0) -> float:
        """When the last agent left; now if there is none."""

        def gone() -> float | None:
            if self.witness.present:
                return None
            return max((stay.left_at for stay in self.witness.stays if stay.left_at), default=self._loop.time())

        return await self._until(gone, what="the agent did not leave", timeout_s=timeout_s)

    async def agent_state(self, state: str, timeout_s: float = 20.0) -> float:
        """When a present agent last showed this `lk.agent.state`, once one does."""

        def shown() -> float | None:
            current = (stay.states[-1] for stay in self.witness.present if stay.states)
            return next((at for at, value in current if value == state), None)

        return await self._until(shown, what=f"no agent showed the state {state!r}", timeout_s=timeout_s)

    def known_until(self) -> float:
        """Up to when we know what was audible, on the monotonic clock."""
        return self.witness.known_until(self._loop.time())

    async def _until(
        self, answer: Callable[[], T | None], *, what: str, timeout_s: float, tick_s: float | None = None
    ) -> T:
        """Wait until `answer` gives one; it is asked again whenever something was noticed, and every `tick_s`."""
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while (found := answer()) is None:
                    if self._over:
                        raise CallOver(self._over)
                    changed = self._changed
                    # Not by wait_for: before Python 3.12 it can swallow the end of the limit around it.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(tick_s):
                            await changed.wait()
                return found
        except TimeoutError:
            raise NotInTime(what, limit_s=timeout_s) from None
        finally:
            self._waiting -= 1

    def _pulse(self) -> None:
        if self._waiting:
            self._changed.set()
            self._changed = asyncio.Event()

    def _end(self, reason: str) -> None:
        if not self._over or reason == "hung up":
            self._over = reason
        self._pulse()

    # ---- the SDK's callbacks: note it, and no more

    def _watch(self, room: rtc.Room) -> None:
        room.on("participant_connected", self._on_connected)
        room.on("participant_disconnected", self._on_gone)
        room.on("participant_attributes_changed", self._on_attributes)
        room.on("track_subscribed", self._on_subscribed)
        room.on("track_unsubscribed", self._on_unsubscribed)
        room.on("reconnecting", self._on_reconnecting)
        room.on("reconnected", self._on_reconnected)
        room.on("disconnected", self._on_disconnected)

    def _on_connected(self, participant: rtc.RemoteParticipant) -> None:
        if participant.kind != AGENT_KIND:
            return
        at = self._loop.time()
        stay = self.witness.seen(identity=participant.identity, sid=participant.sid, at=at)
        if state := participant.attributes.get(STATE_ATTRIBUTE):
            self.witness.state(stay, state=state, at=at)
        self._pulse()

    def _on_gone(self, participant: rtc.RemoteParticipant) -> None:
        self.witness.left(sid=participant.sid, at=self._loop.time())
        for sid in participant.track_publications:
            self._shut_ear(sid)
        self._pulse()

    def _on_attributes(self, changed: dict[str, str], participant: rtc.Participant) -> None:
        if participant.kind == AGENT_KIND and STATE_ATTRIBUTE in changed:
            at = self._loop.time()
            stay = self.witness.seen(identity=participant.identity, sid=participant.sid, at=at)
            self.witness.state(stay, state=changed[STATE_ATTRIBUTE], at=at)
            self._pulse()

    def _on_subscribed(
        self, track: rtc.Track, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if participant.kind != AGENT_KIND or track.kind != rtc.TrackKind.KIND_AUDIO or self._over:
            return
        at = self._loop.time()
        stay = self.witness.seen(identity=participant.identity, sid=participant.sid, at=at)
        self.witness.subscribed(stay, at=at)
        self._shut_ear(track.sid)
        ear = Ear(track, lambda samples, heard_at: self._hear(stay, samples, heard_at))
        self._ears[track.sid] = (stay, ear)
        listening = self._group.create_task(ear.run(), name="caller_ear")
        self._listening.add(listening)
        listening.add_done_callback(self._listening.discard)
        self._pulse()

    def _on_unsubscribed(
        self, track: rtc.Track, _publication: rtc.RemoteTrackPublication, _participant: rtc.RemoteParticipant
    ) -> None:
        self._shut_ear(track.sid)

    def _on_reconnecting(self) -> None:
        self.connection.append((self._loop.time(), "reconnecting"))
        self._pulse()

    def _on_reconnected(self) -> None:
        self.connection.append((self._loop.time(), "reconnected"))
        self._pulse()

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._end(rtc.DisconnectReason.Name(reason))

    def _shut_ear(self, track_sid: str) -> None:
        if there := self._ears.pop(track_sid, None):
            stay, ear = there
            ear.shut()
            self.witness.unsubscribed(stay)

    def _hear(self, stay: AgentStay, samples: Samples, at: float) -> None:
        self.witness.frame(stay, at=at, audible=is_audible(samples))
        if self.tape is not None:
            self.tape.put(Side.AGENT, stay.sid, samples, starts_at=at - FRAME_S)
        self._pulse()

    def _spoke(self, samples: Samples, starts_at: float) -> None:
        if self.tape is not None:
            self.tape.put(Side.CALLER, self.identity, samples, starts_at=starts_at)
