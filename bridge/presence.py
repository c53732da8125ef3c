"""Being in the room: joining, coming back after an eviction, who is there, and when to give the room up.

Whether the room may be entered is the permit's word, asked before every join: LiveKit puts out whoever is there under
our identity, so joining a room that is not ours would put out its owner.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack

import structlog

from bridge import metrics
from bridge.call_end import CallEnd
from bridge.ear import Ear
from bridge.errors import RoomError, RoomRefused, RoomUnreachable
from bridge.listen import FINAL_REASONS, Person, is_caller
from bridge.mouth import Mouth
from bridge.room import (
    CONNECT_LIMIT_S,
    AgentRoom,
    MicIn,
    MicOut,
    Out,
    PersonIn,
    PersonOut,
    Reconnected,
    Reconnecting,
    RoomEvent,
)
from bridge.spec import Ending, Journal, Permit, SessionSpec

log = structlog.get_logger()

PUT_OUT = {
    "ROOM_DELETED": Ending.ROOM_OVER,
    "ROOM_CLOSED": Ending.ROOM_OVER,
    "PARTICIPANT_REMOVED": Ending.REMOVED,
}
"""What LiveKit's reason for putting us out means; any other one is a lost room, but for `EVICTED`."""

EVICTED = Out("DUPLICATE_IDENTITY")
"""Somebody joined under our identity: our successor, if the room is no longer ours; else one who must not."""

EVICTIONS = 3
EVICTIONS_WITHIN_S = 60.0
"""So many evictions from a room that is ours, and somebody else uses our identity: two agents would put each other out
for ever. One or two are a former owner whose network came back."""

FIRST_BACK_S = 0.5
"""The first way back is tried at once, the next ones after this, doubling."""

JOIN_TRIES = 3
"""Of the first join: for a moment's trouble. After that the room is for another worker, who may reach LiveKit."""


class Presence:
    """Our stay in one room, over as many joins as it takes. Three tasks: `be_there`, `speak`, `confirm_doubts`."""

    def __init__(
        self, spec: SessionSpec, permit: Permit, journal: Journal, over: CallEnd, mouth: Mouth, ear: Ear
    ) -> None:
        self._spec = spec
        self._permit = permit
        self._journal = journal
        self._over = over
        self._mouth = mouth
        self._ear = ear
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._room = AgentRoom(spec, permit)
        self._sid = spec.sid
        """The life of the room that this call is for; known after the first join at the latest."""
        self._entered = asyncio.Event()
        """Set while the room we are in takes what we say; cleared when it refused it."""
        self._doubt = asyncio.Event()
        """Set when the connection to the room is in doubt, and with it whether the room is still ours."""
        self._refusal = ""
        """Why the room takes no more of our frames, once it does not."""
        self._is_out = True
        """Not in the room, for good as far as this connection goes."""
        self._evicted_at: deque[float] = deque(maxlen=EVICTIONS)
        self._present: dict[str, int] = {}
        """Callers in the room now: participant sid -> joined, Unix ms."""
        self._alone_until_at: float | None = None
        """When to leave because no caller is there; None while one is."""
        self._out_until_at: float | None = None
        """When to give the room up because LiveKit is out of reach; None while connected."""
        self.served: dict[str, int] = {}
        """Every caller of this call: participant sid -> joined, Unix ms."""
        self.somebody = asyncio.Event()
        """Set once a caller was seen."""
        self.joined_ms: int | None = None

    def prepare(self) -> None:
        """Stand by: make what can be made before the join, which is to take no longer than it must."""
        self._room.prepare()

    async def be_there(self) -> None:
        """Task: join, publish, and follow who comes and goes until nobody is left to serve."""
        self._began_at = self._loop.time()
        try:
            is_in = await self._join_first()
        except RoomError as error:
            self._over.end(
                Ending.ROOM_REFUSED if isinstance(error, RoomRefused) else Ending.ROOM_UNREACHABLE, error.code
            )
            return
        while is_in and (event := await self._next_event()) is not None:
            if event == EVICTED:
                is_in = await self._come_back()
            else:
                self._on_event(event)

    async def speak(self) -> None:
        """Task: say what the voice says, once somebody is there to hear it. When the room takes no more of it, ask
        whose it is.
        """
        await self.somebody.wait()
        while True:
            await self._entered.wait()
            try:
                await self._mouth.say()
            except RoomError as error:  # also what a frame in flight comes to when this process stood still
                self._entered.clear()
                self._refusal = error.code
                self._lose_touch("frames_refused")
                self._doubt.set()

    async def confirm_doubts(self) -> None:
        """Task: while our connection is broken somebody else may have been granted the room.

        When the network returns, the SDK resumes by itself, and that evicts a successor: so ask, and leave unless the
        answer is that the room is ours. When it is, but takes nothing of what we say, others may fare better.
        """
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            if not await self._permit.confirm():
                self._over.end(Ending.LEASE_LOST, "while_reconnecting")
            elif self._refusal:
                self._over.end(Ending.ROOM_LOST, self._refusal)

    async def until_evicted(self, *, limit_s: float) -> None:
        """Stay, silent, until the next owner has put us out, so that the caller never sees a room without an agent.

        Ends after `limit_s` at the latest, and at once when the connection is broken: mending it would evict the owner.
        """
        if self._out_until_at is not None:
            return
        try:
            async with asyncio.timeout(limit_s):
                while not self._is_out:
                    self._is_out = isinstance(await self._room.next_event(), Out | Reconnecting)
        except TimeoutError:
            log.info("not_evicted_in_time")

    async def leave(self) -> None:
        """Leave the room. Safe at any time."""
        self._is_out = True
        await self._room.leave()

    async def _join_first(self) -> bool:
        """Join for the first time, in turn; `JOIN_TRIES` times when LiveKit is out of reach. False: the call is over.

        Raises:
            RoomError: we are not in, and it was tried often enough, or we were refused.
        """
        left_s = CONNECT_LIMIT_S  # of joining itself: to wait for one's turn may take as long, and is nobody's fault
        for tried, wait_s in enumerate(itertools.islice(_waits_s(), 1, JOIN_TRIES + 1), start=1):
            async with AsyncExitStack() as turn:
                await turn.enter_async_context(self._permit.turn_to_join())
                if not await self._may_join():
                    self._over.end(Ending.LEASE_LOST, "not_joined")
                    return False
                began_at = self._loop.time()
                try:
                    return await self._enter(turn, limit_s=left_s)
                except RoomUnreachable as error:
                    left_s -= self._loop.time() - began_at
                    if tried == JOIN_TRIES or left_s <= 0:
                        raise
                    log.warning("join_failed", code=error.code)
            await self._room.leave()
            await asyncio.sleep(wait_s)
            self._room = AgentRoom(self._spec, self._permit)
        raise AssertionError("the last try raises or returns")

    async def _enter(self, turn: AsyncExitStack, *, limit_s: float = CONNECT_LIMIT_S) -> bool:
        """Join and publish, for the first time or again. False when the call is over: it is another life of the room.

        Put out in the middle of it, we are in none the less as far as this goes: the next event says what to do.

        `turn` is closed where the track is held back: who only waits keeps nobody else from joining.

        Raises:
            RoomError: we are not in.
        """
        sid, people = await self._room.join(limit_s=limit_s)
        if self._sid is not None and sid != self._sid:
            self._over.end(Ending.WRONG_LIFE)
            return False
        self._sid = sid
        callers = [person for person in people if is_caller(person, agent_identity=self._spec.identity)]
        if (hold_s := self._room.hold_s(callers)) > 0:
            await turn.aclose()
            await self._room.hold(hold_s)
        if not await self._room.publish():
            return True
        self._is_out, self._out_until_at, self._refusal = False, None, ""
        self._permit.connected()
        self._note_joined()
        self._meet(people)
        self._mouth.is_out = False
        self._mouth.enter(self._room)
        self._entered.set()
        return True

    def _note_joined(self) -> None:
        if self.joined_ms is not None:
            self._journal.event("rejoined")
            return
        self.joined_ms = int((self._loop.time() - self._began_at) * 1000)
        metrics.JOIN_SECONDS.observe(self.joined_ms / 1000)
        self._journal.event("joined", after_ms=self.joined_ms)
        self._alone_until_at = self._loop.time() + self._spec.nobody_s

    def _meet(self, people: list[Person]) -> None:
        """Those who are there come in, and those whom we knew and who left meanwhile go out, in that order: else a
        caller who was replaced by another would look like the last one leaving."""
        for person in people:
            self._on_event(PersonIn(person))
        for sid in self._present.keys() - {person.sid for person in people}:
            self._person_out(sid, "")

    async def _come_back(self) -> bool:
        """After an eviction: join again if the room is ours. False when the call is over.

        The voice session goes on meanwhile, and so do the caller's words on their way to it.
        """
        now = self._loop.time()
        self._is_out, self._refusal = True, ""
        self._entered.clear()
        self._lose_touch("evicted")
        self._evicted_at.append(now)
        if not await self._permit.confirm():
            self._over.end(Ending.LEASE_LOST, "evicted")
            return False
        recent = sum(1 for at in self._evicted_at if now - at <= EVICTIONS_WITHIN_S)
        if recent >= EVICTIONS:
            self._over.end(Ending.IDENTITY_TAKEN, "evicted")
            return False
        self._ear.forget_mics()
        until_at = now + self._spec.out_of_room_s
        for wait_s in itertools.islice(_waits_s(), recent - 1, None):
            await self._room.leave()
            if self._loop.time() + wait_s >= until_at:
                break
            await asyncio.sleep(wait_s)
            if not await self._may_join():
                self._over.end(Ending.LEASE_LOST, "evicted")
                return False
            self._room = AgentRoom(self._spec, self._permit)
            try:
                return await self._enter(AsyncExitStack(), limit_s=until_at - self._loop.time())
            except RoomRefused as error:
                self._over.end(Ending.ROOM_REFUSED, error.code)
                return False
            except RoomError as error:
                log.warning("rejoin_failed", code=error.code)
        self._over.end(Ending.ROOM_LOST, "not_back_in_time")
        return False

    async def _may_join(self) -> bool:
        """Whether the room may be entered, after asking once more if that is not sure."""
        return self._permit.may_join() or (await self._permit.confirm() and self._permit.may_join())

    async def _next_event(self) -> RoomEvent | None:
        """The next event, or None when a deadline passed first, which ends the call."""
        deadlines = [
            (self._began_at + self._spec.max_call_s, Ending.LIMIT_REACHED),
            (self._out_until_at, Ending.ROOM_LOST),
            (self._alone_until_at, Ending.CALLER_LEFT if self.served else Ending.NOBODY_THERE),
        ]
        at, ending = min(((at, ending) for at, ending in deadlines if at is not None), key=lambda pair: pair[0])
        try:
            async with asyncio.timeout_at(at):
                return await self._room.next_event()
        except TimeoutError:
            self._over.end(ending, "deadline")
            return None

    def _on_event(self, event: RoomEvent) -> None:
        match event:
            case PersonIn(person=person):
                if is_caller(person, agent_identity=self._spec.identity):
                    self._caller_in(person)
                else:  # never a caller, or no longer: permissions can be taken away
                    self._person_out(person.sid, "")
            case PersonOut(sid=sid, reason=reason):
                self._person_out(sid, reason)
            case MicIn():
                self._ear.mic_in(event)
            case MicOut(track_sid=track_sid):
                self._ear.mic_out(track_sid)
            case Reconnecting():
                self._lose_touch("reconnecting")
                self._doubt.set()
            case Reconnected():
                self._mouth.is_out = False
                self._out_until_at = None
                self._permit.connected()
                self._journal.event("reconnected")
            case Out(reason=reason):
                self._is_out = True
                self._over.end(PUT_OUT.get(reason, Ending.ROOM_LOST), reason.lower())

    def _lose_touch(self, how: str) -> None:
        """Out of touch with the room: nothing is said into it, and it is given up when that lasts."""
        self._mouth.is_out = True
        self._out_until_at = self._loop.time() + self._spec.out_of_room_s
        self._permit.disconnected()
        self._journal.event(how)

    def _caller_in(self, person: Person) -> None:
        is_new = person.sid not in self._present
        self._present[person.sid] = self.served[person.sid] = person.joined_unix_ms
        self._alone_until_at = None
        self.somebody.set()
        self._ear.caller_in(person.sid)
        if is_new:
            self._journal.callers(self._present)

    def _person_out(self, sid: str, reason: str) -> None:
        self._ear.person_out(sid)
        if self._present.pop(sid, None) is None:
            return
        self._journal.callers(self._present)
        if self._present:
            return
        if reason in FINAL_REASONS:
            self._over.end(Ending.ROOM_OVER if reason == "ROOM_DELETED" else Ending.CALLER_LEFT)
        else:
            self._alone_until_at = self._loop.time() + self._spec.linger_s
            self._journal.event("lingering", for_s=self._spec.linger_s)


def _waits_s() -> Iterator[float]:
    """How long to wait before each way back into the room."""
    yield 0.0
    wait_s = FIRST_BACK_S
    while True:
        yield wait_s
        wait_s *= 2
