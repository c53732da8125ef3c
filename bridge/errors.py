"""What can go wrong in a call, and whose fault it is.

    BridgeError
    ├── RoomError            LiveKit's side
    │   ├── RoomRefused      our token or keys are wrong: no repeat helps
    │   └── RoomUnreachable  network or server: a later repeat may help
    └── VoiceError           the voice peer's side
        ├── VoiceRefused     the key is wrong or lacks a right: no repeat helps
        ├── VoiceMisfit      our configuration was refused (unknown voice, bad field): no repeat helps
        ├── VoiceBusy        at capacity, or not ready in time: a later repeat may help
        └── VoiceClosed      an open link broke: a fresh voice session may help

An error carries a short `code` of ours, fit for logs and labels. Text that a peer sent is never part of it.
"""


class BridgeError(Exception):
    """Base of everything the bridge raises on purpose."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RoomError(BridgeError):
    """LiveKit's side of a call failed."""


class RoomRefused(RoomError):
    """LiveKit refuses our join: wrong key or secret, a clock far off, or a room name it does not take."""


class RoomUnreachable(RoomError):
    """LiveKit cannot be reached, or did not let us in in time."""


class VoiceError(BridgeError):
    """The voice peer's side of a call failed."""


class VoiceRefused(VoiceError):
    """The voice peer refuses our key."""


class VoiceMisfit(VoiceError):
    """The voice peer refuses our configuration.

    `param` names the refused field when the peer did, `valid_voices` what it offers instead of an unknown voice.
    """

    def __init__(self, code: str, *, param: str = "", valid_voices: tuple[str, ...] = ()) -> None:
        super().__init__(code)
        self.param = param
        self.valid_voices = valid_voices


class VoiceBusy(VoiceError):
    """The voice peer is full or slow; the same request may succeed later."""


class VoiceClosed(VoiceError):
    """An open link ended without the peer's farewell. `close_code` is WebSocket's, None when there was none."""

    def __init__(self, code: str, *, close_code: int | None = None) -> None:
        super().__init__(code)
        self.close_code = close_code
