"""What the SDK tells a room is what it told before, without what means nothing to it."""

import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.rtc._proto import ffi_pb2

from bridge.caller.caller import Caller
from bridge.caller.wav import hello
from bridge.sdk_events import NOT_FOR_ROOMS, is_for_room, narrow
from bridge.tokens import caller_token
from deploy.local.livekit_server import LiveKitServer

KINDS = [field.name for field in ffi_pb2.FfiEvent.DESCRIPTOR.oneofs_by_name["message"].fields]

WATCHED = (
    "participant_connected",
    "participant_disconnected",
    "track_published",
    "track_subscribed",
    "track_unsubscribed",
    "participant_attributes_changed",
)


def event(kind: str, room: int = 0) -> ffi_pb2.FfiEvent:
    """A native event of a kind, and of a room where it names one."""
    made = ffi_pb2.FfiEvent()
    getattr(made, kind).SetInParent()
    if kind == "room_event":
        made.room_event.room_handle = room
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_room_is_told_of_all_but_speech(kind: str) -> None:
    """Every kind that the installed SDK knows; a new one is let through."""
    assert is_for_room(7)(event(kind, room=7)) == (kind not in NOT_FOR_ROOMS)


def test_a_room_is_told_of_itself_alone() -> None:
    """Another room's events are the other's."""
    assert not is_for_room(7)(event("room_event", room=8))


async def test_an_sdk_that_is_built_otherwise_is_left_alone() -> None:
    """Nothing is changed, and it is said so; an unconnected room is such a case."""
    assert not narrow(rtc.Room())


@pytest.mark.livekit
@pytest.mark.timeout(60)
async def test_a_narrowed_room_sees_what_any_other_sees(livekit: LiveKitServer) -> None:
    """Two watchers of one call, one of them narrowed: the same events in the same order."""
    watchers = {name: Watcher() for name in ("stock", "narrowed")}
    for name, watcher in watchers.items():
        token = caller_token(livekit.api_key, livekit.api_secret, room="watched", identity=name)
        await watcher.room.connect(livekit.url, token)
    assert narrow(watchers["narrowed"].room)

    async with Caller(livekit.url, room="watched", key=livekit.api_key, secret=livekit.api_secret) as caller:
        await caller.say(hello())
    async with asyncio.timeout(20):
        for watcher in watchers.values():
            await watcher.saw_a_leave.wait()
    for watcher in watchers.values():
        await watcher.room.disconnect()

    stock, narrowed = (watchers[name].seen(caller.identity) for name in ("stock", "narrowed"))
    assert narrowed == stock
    assert {"participant_connected", "track_subscribed", "participant_disconnected"} <= set(stock)


class Watcher:
    """A participant that notes what its SDK tells it of others."""

    def __init__(self) -> None:
        self.room = rtc.Room()
        self.saw_a_leave = asyncio.Event()
        self._events: list[tuple[str, str]] = []
        for what in WATCHED:
            self.room.on(what, self._noting(what))  # type: ignore[arg-type]  # the SDK types the name as a literal

    def seen(self, identity: str) -> list[str]:
        """What was told of somebody, in order."""
        return [what for what, who in self._events if who == identity]

    def _noting(self, what: str) -> Any:
        def note(*facts: Any) -> None:
            self._events.extend((what, one.identity) for one in facts if isinstance(one, rtc.Participant))
            if what == "participant_disconnected":
                self.saw_a_leave.set()

        return note
