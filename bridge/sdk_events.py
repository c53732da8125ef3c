"""What LiveKit's SDK tells a room: of itself alone, and of nobody's speech.

The SDK has one queue of native events a process. Version 1.2 lets a room have all of them but streams' frames: each
frame that any call speaks is confirmed to every room, so that sixteen calls take 5 000 deliveries a second of which
320 mean something. Here a room that is connected gets a filter that lets its own events through, and whatever answers a
request. Reaches into the SDK (livekit 1.2); where that is built otherwise nothing is changed, and all is as it was.
"""

from collections.abc import Callable
from typing import Any

import structlog
from livekit import rtc

log = structlog.get_logger()

NOT_FOR_ROOMS = frozenset({"audio_stream_event", "video_stream_event", "capture_audio_frame"})
"""Each has a subscriber of its own, that waits for nothing else."""

ROOM_EVENT = "room_event"


def is_for_room(room_handle: int) -> Callable[[Any], bool]:
    """A filter of native events: whether a room of that handle has any use for one."""

    def is_wanted(event: Any) -> bool:
        kind = event.WhichOneof("message")
        if kind == ROOM_EVENT:
            return bool(event.room_event.room_handle == room_handle)
        return kind not in NOT_FOR_ROOMS

    return is_wanted


def narrow(room: rtc.Room) -> bool:
    """Have a connected room told of itself alone. Return whether it was done.

    Events that came before are delivered as they were: the room's own are among them.
    """
    try:
        from livekit.rtc._ffi_client import FfiClient  # here, where it may be missing

        queue, handle = FfiClient.instance.queue, room._ffi_handle
        ours, subscribers = room._ffi_queue, queue._subscribers
        with queue._lock:
            index, (_, loop, _) = next(one for one in enumerate(subscribers) if one[1][0] is ours)
            assert handle is not None
            subscribers[index] = (ours, loop, is_for_room(handle.handle))
    except (ImportError, AttributeError, TypeError, ValueError, StopIteration, AssertionError) as error:
        log.info("sdk_events_not_narrowed", error=type(error).__name__)
        return False
    return True
