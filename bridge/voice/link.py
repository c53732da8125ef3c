"""One voice session over one WebSocket: dial, say hello, wait until it is ready; then send and receive.

The only file that holds the voice socket. It decides nothing about the call: what to do after a `VoiceError` is
`retry.py`'s, what to do with an event the session's.
"""

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from bridge import metrics
from bridge.errors import VoiceBusy, VoiceClosed, VoiceError, VoiceMisfit, VoiceRefused
from bridge.spec import LinkSpec, VoiceSpec
from bridge.voice import DIALECTS, Dialect, Voice, loopback
from bridge.voice.events import BadMessage, Ready, Unknown, VoiceEnded, VoiceEvent, VoiceFault

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A configuration echo with many tools is far below; the library's default of 1 MiB is not."""

MAX_QUEUED_MESSAGES = 64
"""Messages read ahead; beyond that TCP pushes back on the peer. At the peer's 10 ms a message, 640 ms."""

MAX_SURPRISES_LOGGED = 5
"""Odd messages of one voice session that get a log line; the counter counts all."""

REFUSALS = frozenset({"unauthorized", "forbidden"})
MISFITS = frozenset(
    {"invalid_value", "invalid_format", "invalid_config", "agent_not_found", "agent_id_not_first", "immutable_field"}
)


def fault_error(fault: VoiceFault) -> VoiceError:
    """What a fault before `Ready` means. A code nobody told us about may pass: the attempts are counted anyway."""
    if fault.code in REFUSALS:
        return VoiceRefused(fault.code)
    if fault.code in MISFITS:
        return VoiceMisfit(fault.code, param=fault.param, valid_voices=fault.valid_voices)
    return VoiceBusy(fault.code)


def status_error(status: int) -> VoiceError:
    """What an HTTP answer to the upgrade means. 403 is a plan, a region or a firewall, and no repeat helps either."""
    if status in (401, 403):
        return VoiceRefused(f"http_{status}")
    if status in (400, 404, 410):
        return VoiceMisfit(f"http_{status}")
    return VoiceBusy(f"http_{status}")


class VoiceLink:
    """A voice session over an open socket. Made by `dial`; ended by `farewell` or, if there is no time, by `abort`."""

    def __init__(self, socket: ClientConnection, spec: LinkSpec, dialect: Dialect) -> None:
        self.ready = Ready("")
        """What the peer said when it was ready."""
        self._socket = socket
        self._spec = spec
        self._dialect = dialect
        self._surprises = 0

    async def introduce(self, voice: VoiceSpec, name: str) -> None:
        """Say hello, and wait until the peer is ready.

        Raises:
            VoiceRefused, VoiceMisfit, VoiceBusy: as `dial`.
        """
        # A peer that refuses our key says so and closes before we spoke: its word is still there to be read.
        with contextlib.suppress(VoiceClosed):
            await self._send(self._dialect.hello(voice, name))
        try:
            async with contextlib.aclosing(self.events()) as events:
                async for event in events:
                    match event:
                        case Ready():
                            self.ready = event
                            return
                        case VoiceFault():
                            raise fault_error(event)
        except VoiceClosed as closed:
            # 1008 alone is no bad key (a refused configuration has it too): without the error frame it may pass.
            raise VoiceBusy(f"closed_{closed.close_code or 'early'}") from closed
        raise VoiceBusy("ended_before_ready")

    async def send_audio(self, pcm: bytes | memoryview) -> None:
        """Send a piece of the caller's audio.

        Raises:
            VoiceClosed: the link broke.
        """
        await self._send(self._dialect.audio(pcm))

    async def instruct(self, voice: VoiceSpec) -> None:
        """Give the voice another prompt, from the next turn on; whatever else of `voice` differs stays as it was.

        Raises:
            VoiceClosed: the link broke.
        """
        await self._send(self._dialect.instruct(voice.prompt))

    async def events(self) -> AsyncGenerator[VoiceEvent, None]:
        """Yield what the voice says, to the end.

        Ends after `VoiceEnded`. An unknown or malformed message is counted and passed over.

        Raises:
            VoiceClosed: the link broke without a farewell.
        """
        try:
            async for message in self._socket:
                event = self._decode(message)
                if event is not None:
                    yield event
                if isinstance(event, VoiceEnded):
                    return
        except ConnectionClosed as closed:
            raise _closed(closed) from closed
        raise VoiceClosed("closed_without_farewell", close_code=self._socket.close_code)

    async def farewell(self) -> bool:
        """End the voice session, wait for the peer's word, bounded, and close. Return whether the word came.

        The peer's last audio is read and dropped. Nobody else may be reading `events`.
        """
        acknowledged = False
        try:
            async with asyncio.timeout(self._spec.farewell_s):
                await self._send(self._dialect.farewell())
                async for event in self.events():
                    acknowledged = acknowledged or isinstance(event, VoiceEnded)
        except (VoiceClosed, TimeoutError):
            pass  # without the word the peer notices the closed socket; the answer tells the log
        finally:
            await self.abort()
        return acknowledged

    async def abort(self) -> None:
        """Close the socket without a farewell. Never raises what the network says."""
        await self._socket.close()

    async def _send(self, message: bytes) -> None:
        try:
            await self._socket.send(message, text=True)
        except ConnectionClosed as closed:
            raise _closed(closed) from closed

    def _decode(self, message: str | bytes) -> VoiceEvent | None:
        raw = message.encode() if isinstance(message, str) else message
        try:
            event = self._dialect.decode(raw)
        except BadMessage as error:
            self._surprise(str(error), len(raw))
            return None
        if isinstance(event, Unknown):
            self._surprise("unknown_kind", len(raw))
        return event

    def _surprise(self, what: str, size_bytes: int) -> None:
        metrics.VOICE_SURPRISES.inc()
        self._surprises += 1
        if self._surprises <= MAX_SURPRISES_LOGGED:
            log.warning("voice_surprise", what=what, size_bytes=size_bytes)


async def open_voice(spec: LinkSpec, voice: VoiceSpec, name: str, *, farewells: asyncio.TaskGroup) -> Voice:
    """A voice session that is ready: of the peer that the spec names, as `dial`, or of none at all (`loopback`)."""
    if spec.dialect == loopback.DIALECT:
        return loopback.LoopbackVoice(spec.url)
    return await dial(spec, voice, name, farewells=farewells)


async def dial(spec: LinkSpec, voice: VoiceSpec, name: str, *, farewells: asyncio.TaskGroup) -> VoiceLink:
    """Open a voice session with the voice called `name`, and return it ready.

    When cancelled, or when the peer takes too long, a session that may have begun is ended in `farewells`.

    Raises:
        VoiceRefused: the key is refused.
        VoiceMisfit: the configuration is refused; for an unknown voice with the valid ones.
        VoiceBusy: no answer in time, no room, or the network failed.
    """
    dialect = DIALECTS[spec.dialect]()
    link = VoiceLink(await _open(spec, dialect), spec, dialect)
    try:
        async with asyncio.timeout(spec.ready_s):
            await link.introduce(voice, name)
    except VoiceError:
        await link.abort()
        raise
    except TimeoutError as error:
        farewells.create_task(say_farewell(link), name="farewell")
        raise VoiceBusy("not_ready_in_time") from error
    except BaseException:
        farewells.create_task(say_farewell(link), name="farewell")
        raise
    return link


async def say_farewell(link: Voice) -> None:
    """Task of whoever owns the farewells: end the peer's session, outside the path of the call."""
    try:
        if await link.farewell():
            return
    except Exception:  # the boundary of a farewell: the calls beside it go on
        log.exception("farewell_failed")
    metrics.UNACKNOWLEDGED_FAREWELLS.inc()
    log.warning("farewell_unacknowledged", voice_session=link.ready.voice_session)


def warm_up(spec: LinkSpec) -> None:
    """Do once what every dial needs, and would do with a caller waiting and every other call of the process standing
    still."""
    if spec.dialect == loopback.DIALECT:
        loopback.warm_up(spec.url)
    elif spec.url.startswith("wss:"):
        _tls()


@functools.cache
def _tls() -> ssl.SSLContext:
    """Whom we trust. To read it takes 0.05 s to 0.1 s (measured), in which no frame of any call moves."""
    return ssl.create_default_context()


async def _open(spec: LinkSpec, dialect: Dialect) -> ClientConnection:
    tls: dict[str, Any] = {"ssl": _tls()} if spec.url.startswith("wss:") else {}
    try:
        return await connect(
            spec.url,
            additional_headers=dict(dialect.headers(spec.key)),
            compression=None,  # base64 speech does not compress, and deflate costs five times the message (measured)
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_QUEUED_MESSAGES,
            open_timeout=spec.dial_s,
            ping_interval=spec.ping_s,
            ping_timeout=spec.ping_s,
            close_timeout=1.0,
            **tls,
        )
    except InvalidStatus as error:
        raise status_error(error.response.status_code) from error
    except InvalidURI as error:
        raise VoiceMisfit("bad_url") from error
    except (InvalidHandshake, ConnectionClosed) as error:
        raise VoiceBusy("bad_handshake") from error
    except TimeoutError as error:
        raise VoiceBusy("dial_timed_out") from error
    except OSError as error:
        raise VoiceBusy("unreachable") from error


def _closed(closed: ConnectionClosed) -> VoiceClosed:
    code = closed.rcvd.code if closed.rcvd else None
    return VoiceClosed("closed" if code else "dropped", close_code=code)
