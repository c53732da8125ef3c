"""The synthetic caller: an ordinary participant with a voice and ears, and the adapter to the LiveKit SDK.

    async with Caller(url, key=key, secret=secret, room="demo") as caller:
        await caller.agent_heard(timeout_s=20)
        spoken = await caller.say(hello())
        heard_at = await caller.until_agent_audible(timeout_s=10, since=spoken.ended_at)

What was noticed is in `caller.witness`, times on the loop's monotonic clock. The SDK's callbacks (`senses.py`) only
write there; what can be awaited is in `waits.py`.
"""

import asyncio
import contextlib
import re
import secrets
from types import TracebackType
from typing import Any

import structlog
from livekit import rtc
from livekit.rtc.participant import PublishTrackError

from bridge.caller.errors import CannotJoin, JoinFault
from bridge.caller.mouth import Mouth, Spoken
from bridge.caller.senses import Senses
from bridge.caller.sound import Samples, Speech
from bridge.caller.tape import Side, Tape
from bridge.caller.waits import Waits
from bridge.shield import see_through
from bridge.tokens import caller_token

log = structlog.get_logger()

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

SINGLE_PEER_CONNECTION = False
"""One connection each way, as a browser has. With the SDK's default, one for both, publishing a microphone and being
told of an agent's track negotiate on the same one, and now and then one of the two is lost for good: callers whom
LiveKit lists without a track, and who never get the agent's (seen with twenty at once on a full machine)."""

MAX_BREAKS_TOLD = 4

MAX_BITRATE = 48_000
"""At this the encoder costs a third of what the default does in silence (measured), and a caller is mostly silent."""


def random_identity() -> str:
    """An identity nobody else in the room has."""
    return f"caller-{secrets.token_hex(4)}"


class Caller(Waits):
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
        super().__init__()
        self.room_name = room
        self.identity = identity or random_identity()
        self.tape: Tape | None = None
        # Moments on the monotonic clock; 0.0 until they came.
        self.connect_began_at = 0.0
        self.left_at = 0.0
        # Interruptions of our own connection: (when, "reconnecting" | "reconnected").
        self.connection: list[tuple[float, str]] = []
        self._url = url
        self._token = token or caller_token(key, secret, room=room, identity=self.identity)
        self._record_max_s = record_max_s
        self._group = asyncio.TaskGroup()
        # One departure at a time; whoever comes second waits for it.
        self._hanging_up = asyncio.Lock()

    # ---- coming and going

    async def __aenter__(self) -> "Caller":
        self._loop = asyncio.get_running_loop()
        self._room = rtc.Room()
        self._mouth = Mouth(self._spoke)
        self._senses = Senses(self.witness, self._group, self._pulse)
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
        self._senses.shut()
        await self._finished(EARS_S, *self._senses.listening)
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
            self.tape = self._senses.tape = Tape(started_at=self.connect_began_at, max_s=self._record_max_s)
        options = rtc.RoomOptions(
            auto_subscribe=True, connect_timeout=SIGNAL_TIMEOUT_S, single_peer_connection=SINGLE_PEER_CONNECTION
        )
        try:
            await see_through(self._room.connect(self._url, self._token, options), name="connect", limit_s=JOIN_S)
        except rtc.ConnectError as error:
            is_refused = _REFUSED.search(error.message) is not None
            raise CannotJoin(JoinFault.REFUSED if is_refused else JoinFault.UNREACHABLE) from None
        except TimeoutError:
            raise CannotJoin(JoinFault.UNREACHABLE) from None
        self.connected_at = self._loop.time()
        for participant in self._room.remote_participants.values():
            self._senses.connected(participant)

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
        await self.until(
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

    # ---- our own connection

    def known(self) -> str:
        """What is known of the agent now, and how our own connection fared, as a clause."""
        now = self._loop.time()
        breaks = [f"we were {word} {now - at:.1f} s ago" for at, word in self.connection[-MAX_BREAKS_TOLD:]]
        return "; ".join([super().known(), *breaks])

    def _watch(self, room: rtc.Room) -> None:
        self._senses.watch(room)
        room.on("reconnecting", lambda: self._connection_is("reconnecting"))
        room.on("reconnected", lambda: self._connection_is("reconnected"))
        room.on("disconnected", self._on_disconnected)

    def _connection_is(self, word: str) -> None:
        self.connection.append((self._loop.time(), word))
        self._pulse()

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._end(rtc.DisconnectReason.Name(reason))

    def _spoke(self, samples: Samples, starts_at: float) -> None:
        if self.tape is not None:
            self.tape.put(Side.CALLER, self.identity, samples, starts_at=starts_at)
