"""The adapter to livekit.rtc: callbacks in, typed events out of one bounded channel. The only file that knows the SDK's
room (beside the synthetic caller, which is somebody else in it).

It decides nothing: who is a caller, which microphone is heard and when a call ends is decided above.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from livekit import rtc
from livekit.rtc.participant import PublishTrackError

from bridge import sdk_events
from bridge.errors import RoomError, RoomRefused, RoomUnreachable
from bridge.listen import Person
from bridge.publish_moment import hold_ms
from bridge.sdk_connect import joins_once
from bridge.shield import see_through
from bridge.spec import RATE_HZ, Permit, SessionSpec

log = structlog.get_logger()

EVENTS_BOUND = 512
"""Events of one room not yet looked at. A room that outruns us by so much is lost, not buffered."""

HEAR_MS = 50
"""Size of the frames in which a caller is heard: fewer messages, and the voice peer hears no difference."""

HEAR_CAPACITY = 40
"""Two seconds of a caller's frames inside the SDK; oldest dropped."""

CONNECT_LIMIT_S = 25.0
"""One attempt that hangs, because its room went away, takes the SDK 15 s (measured)."""

SDK_LIMIT_S = 5.0
"""For every other call: in a healthy room they take milliseconds."""

SHOW_LIMIT_S = 0.3
"""For a change of attributes to be confirmed; usually some milliseconds. Unconfirmed, it is applied all the same."""

SINGLE_PEER_CONNECTION = False
"""One connection each way instead of the SDK's one for both: with a publish of its own to negotiate, the agent is heard
a third later, and takes no less memory or processor (measured, docs/performance.md)."""

_KINDS = {value: name.removeprefix("PARTICIPANT_KIND_") for name, value in rtc.ParticipantKind.items()}
_REASONS = {value: name for name, value in rtc.DisconnectReason.items()}

_REFUSED = re.compile(r"\b(400|401|403)\b|unauthorized|invalid token|permissions denied", re.IGNORECASE)
"""What tells a refusal from a network failure in the SDK's one error, which carries nothing but text."""

_ADDRESS = re.compile(r"\b(wss?|https?)://\S+")
"""Taken out of that text first: ports and tokens hold any digits."""


@dataclass(frozen=True, slots=True)
class PersonIn:
    """Somebody is in the room, or changed what they may do."""

    person: Person


@dataclass(frozen=True, slots=True)
class PersonOut:
    """Somebody left. `reason` is LiveKit's enum name, empty when it gave none."""

    sid: str
    reason: str


@dataclass(frozen=True, slots=True)
class MicIn:
    """An audio track of somebody can be heard now."""

    track: rtc.Track
    track_sid: str
    participant_sid: str


@dataclass(frozen=True, slots=True)
class MicOut:
    """It no longer can."""

    track_sid: str


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection is in doubt; the SDK tries to mend it by itself."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """It did."""


@dataclass(frozen=True, slots=True)
class Out:
    """We are out of the room for good. `reason` is LiveKit's enum name."""

    reason: str


RoomEvent = PersonIn | PersonOut | MicIn | MicOut | Reconnecting | Reconnected | Out


class AgentRoom:
    """Our presence in one room: join, publish, play, hear, leave. Never joins twice."""

    def __init__(self, spec: SessionSpec, permit: Permit) -> None:
        self._spec = spec
        self._permit = permit
        self._room = rtc.Room()
        self._source: rtc.AudioSource | None = None
        self._track: rtc.LocalAudioTrack | None = None
        self._publication: rtc.LocalTrackPublication | None = None
        self._events: asyncio.Queue[RoomEvent] = asyncio.Queue(maxsize=EVENTS_BOUND)
        self._overrun = False
        self._has_left = False
        self._is_over = asyncio.Event()
        """Set when LiveKit put us out, or the connection is lost for good: an `Out` says why."""
        self._connect_began_at = 0.0

    @property
    def ahead_ms(self) -> int:
        """About how many milliseconds were handed over and are not sent yet."""
        return int(self._source.queued_duration * 1000) if self._source is not None else 0

    def prepare(self) -> None:
        """Make what can be made before the join. The first time in a process this starts the SDK's media engine."""
        self._made_track()

    async def join(self, *, limit_s: float = CONNECT_LIMIT_S) -> tuple[str, list[Person]]:
        """Join, and return the sid of the room's life that we are in, and who is there already.

        Not cancellable before it has ended. A join that outlives its limit leaves by itself once it succeeds: a late
        agent would put out whoever was granted the room since.

        Raises:
            RoomRefused: LiveKit does not accept our token.
            RoomUnreachable: no connection in time.
        """
        self._listen()
        self._connect_began_at = time.monotonic()
        options = rtc.RoomOptions(auto_subscribe=True, dynacast=False, single_peer_connection=SINGLE_PEER_CONNECTION)
        try:
            await see_through(self._connect(options), name="room_connect", limit_s=limit_s)
            async with asyncio.timeout(SDK_LIMIT_S):
                sid = await self._room.sid
        except rtc.ConnectError as error:
            raise _connect_error(error.message) from None  # its text may repeat the token
        except TimeoutError as error:
            self._has_left = True
            raise RoomUnreachable("connect_timed_out") from error
        except RuntimeError as error:
            raise RoomUnreachable("disconnected_while_joining") from error
        return sid, [_person(participant) for participant in self._room.remote_participants.values()]

    def hold_s(self, callers: Iterable[Person]) -> float:
        """How long to wait, after `join`, before `publish`, for these callers' sake (`publish_moment.py`)."""
        if (own := self._room.local_participant.joined_at) is None:
            return 0.0
        held_ms = hold_ms(
            [caller.joined_unix_ms for caller in callers],
            own_joined_ms=int(own.timestamp() * 1000),
            connect_took_ms=int((time.monotonic() - self._connect_began_at) * 1000),
            now_ms=int(time.time() * 1000),
            publish_after_ms=self._spec.publish_after_ms,
        )
        return held_ms / 1000

    async def hold(self, hold_s: float) -> None:
        """Wait so long, or until we are put out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(hold_s):
                await self._is_over.wait()

    async def publish(self) -> bool:
        """Publish the agent's voice: 24 kHz mono, as a microphone, which is where front-ends look for an agent.

        False when we were put out before: the next event says why.

        Raises:
            RoomUnreachable: the room did not take it in time.
        """
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        options.audio_encoding.max_bitrate = self._spec.max_bitrate
        if self._is_over.is_set():
            return False
        try:
            self._publication = await see_through(
                self._room.local_participant.publish_track(self._made_track(), options),
                name="publish_track",
                limit_s=SDK_LIMIT_S,
            )
        except (PublishTrackError, TimeoutError) as error:
            if self._is_over.is_set():
                return False
            raise RoomUnreachable("publish_failed") from error
        return True

    async def listened_to(self, *, limit_s: float) -> None:
        """Wait until somebody subscribed to the agent's voice, at most `limit_s`."""
        if self._publication is not None:
            # Not by wait_for: before Python 3.12 it can swallow a cancellation, and the call would never end.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._publication.wait_for_subscription()

    async def played_out(self) -> None:
        """Wait until what was handed over has been sent."""
        if self._source is not None:
            await self._source.wait_for_playout()

    async def next_event(self) -> RoomEvent:
        """Wait for the next event. After an overrun the only one is `Out`."""
        if self._overrun:
            return Out("EVENTS_OVERRUN")
        return await self._events.get()

    async def play(self, pcm: bytes, *, handed_over: Callable[[], None] | None = None) -> None:
        """Hand a frame to the room. Waits while more than the queue's size is ahead. Never cancelled half-way.

        `handed_over` is called when the SDK was given the frame, and not when it says so, which is later.

        Raises:
            RoomUnreachable: the room takes no frames any more.
        """
        if self._source is None:
            return
        frame = rtc.AudioFrame(pcm, RATE_HZ, 1, len(pcm) // 2)
        try:
            capturing = self._source.capture_frame(frame)
            await see_through(capturing, name="capture_frame", limit_s=SDK_LIMIT_S, begun=handed_over)
        except Exception as error:  # the SDK raises nothing more particular
            raise RoomUnreachable("frame_refused") from error

    def clear(self) -> int:
        """Drop what was handed over and not yet sent; return about how many milliseconds that was."""
        if self._source is None:
            return 0
        ahead_ms = self.ahead_ms
        self._source.clear_queue()
        return ahead_ms

    async def show(self, attributes: dict[str, str]) -> bool:
        """Set attributes of ours, which front-ends read, and return whether the room confirmed it in time.

        The SDK does not tell a refusal, and now and then its core gets no answer (seen); cancelling this one is safe.
        """
        try:
            async with asyncio.timeout(SHOW_LIMIT_S):
                await self._room.local_participant.set_attributes(attributes)
        except TimeoutError:
            return False
        return True

    async def leave(self) -> None:
        """Leave the room and give back what the SDK holds. Safe to call at any time, also twice, also unjoined.

        First the queue, then the room, then the source: a frame in flight at the end makes the SDK complain, and a
        room left after the server closed it leaks.
        """
        self._has_left = True
        self._deafen()
        self.clear()
        try:
            await see_through(self._room.disconnect(), name="disconnect", limit_s=SDK_LIMIT_S)
        except TimeoutError:
            log.warning("leave_timed_out")
        finally:
            source, self._source = self._source, None
            if source is not None:
                await source.aclose()

    def _made_track(self) -> rtc.LocalAudioTrack:
        if self._track is None:
            self._source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=self._spec.queue_ms)
            self._track = rtc.LocalAudioTrack.create_audio_track(self._spec.track_name, self._source)
        return self._track

    async def _connect(self, options: rtc.RoomOptions) -> None:
        with joins_once():
            await self._room.connect(self._spec.url, self._permit.token(), options)
        if self._spec.narrow_events:
            sdk_events.narrow(self._room)
        if self._has_left:
            await self._room.disconnect()

    def _put(self, event: RoomEvent) -> None:
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self._overrun = True

    def _on_person(self, participant: Any, *_: object) -> None:
        if isinstance(participant, rtc.RemoteParticipant):
            self._put(PersonIn(_person(participant)))

    def _listeners(self) -> dict[str, Any]:
        return {
            "participant_connected": self._on_person,
            "participant_permissions_changed": self._on_person,
            "participant_disconnected": lambda participant: self._put(
                PersonOut(
                    participant.sid,
                    _REASONS.get(participant.disconnect_reason, "") if participant.disconnect_reason else "",
                )
            ),
            "track_subscribed": self._on_track,
            "track_unsubscribed": lambda track, publication, _participant: self._put(MicOut(publication.sid)),
            "reconnecting": lambda: self._put(Reconnecting()),
            "reconnected": lambda: self._put(Reconnected()),
            "disconnected": self._on_disconnected,
        }

    def _on_disconnected(self, reason: Any) -> None:
        self._put(Out(_REASONS.get(reason, "UNKNOWN_REASON")))
        self._is_over.set()

    def _on_track(self, track: rtc.Track, publication: Any, participant: Any) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._put(MicIn(track, publication.sid, participant.sid))

    def _listen(self) -> None:
        self._callbacks = self._listeners()
        for name, callback in self._callbacks.items():
            self._room.on(name, callback)  # type: ignore[arg-type]  # the SDK types the name as a literal

    def _deafen(self) -> None:
        for name, callback in getattr(self, "_callbacks", {}).items():
            self._room.off(name, callback)


async def warm_up() -> None:
    """Start the SDK's media engine, which takes a tenth of a join, before anybody waits for it."""
    source = rtc.AudioSource(RATE_HZ, 1)
    rtc.LocalAudioTrack.create_audio_track("warm-up", source)
    await source.aclose()


async def hear(mic: MicIn) -> AsyncGenerator[bytes, None]:
    """Yield a microphone's frames, mono PCM16 at 24 kHz, 50 ms each, until it ends."""
    stream = rtc.AudioStream.from_track(
        track=mic.track, sample_rate=RATE_HZ, num_channels=1, frame_size_ms=HEAR_MS, capacity=HEAR_CAPACITY
    )
    try:
        async for event in stream:
            yield bytes(event.frame.data.cast("B"))
    finally:
        # Left open, it would deliver the next participant's audio on the reused receiver (seen).
        with contextlib.suppress(TimeoutError):  # counted and logged as abandoned
            await see_through(stream.aclose(), name="close_stream", limit_s=SDK_LIMIT_S)


def _connect_error(text: str) -> RoomError:
    if _REFUSED.search(_ADDRESS.sub("", text)):
        return RoomRefused("join_refused")
    return RoomUnreachable("connect_failed")


def _person(participant: rtc.RemoteParticipant) -> Person:
    joined = participant.joined_at
    may = participant.permissions
    return Person(
        sid=participant.sid,
        identity=participant.identity,
        kind=_KINDS.get(participant.kind, "UNKNOWN"),
        joined_unix_ms=int(joined.timestamp() * 1000) if joined else int(time.time() * 1000),
        hidden=may.hidden,
        can_publish=may.can_publish,
    )
