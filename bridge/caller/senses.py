"""What the SDK tells the caller of agents, noted in the witness as it comes, and an ear for each of their tracks.

The SDK's callbacks note it, and no more.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from livekit import rtc

from bridge.caller.ear import Ear
from bridge.caller.sound import FRAME_S, Samples, is_audible
from bridge.caller.tape import Side, Tape
from bridge.caller.witness import AgentStay, Witness

STATE_ATTRIBUTE = "lk.agent.state"
FENCE_ATTRIBUTE = "roompool.fence"
"""By which grant an agent came in; `pool/tokens.py` writes it into the token."""

AGENT_KIND = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


class Senses:
    """Eyes and ears of one caller.

    Attributes:
        listening: The tasks of all ears, closed ones until they have closed their streams.
        tape: Where what is heard is laid down; None keeps no recording.
    """

    def __init__(self, witness: Witness, group: asyncio.TaskGroup, noticed: Callable[[], None]) -> None:
        """`noticed` is told after each note; `group` owns the ears' tasks."""
        self.listening: set[asyncio.Task[None]] = set()
        self.tape: Tape | None = None
        self._witness = witness
        self._group = group
        self._noticed = noticed
        # Open ears by track sid.
        self._ears: dict[str, tuple[AgentStay, Ear]] = {}
        self._is_shut = False
        self._loop = asyncio.get_running_loop()

    def watch(self, room: rtc.Room) -> None:
        """Notice what happens in this room from now on."""
        room.on("participant_connected", self.connected)
        room.on("participant_disconnected", self._gone)
        room.on("participant_attributes_changed", self._attributes)
        room.on("track_subscribed", self._subscribed)
        room.on("track_unsubscribed", self._unsubscribed)

    def shut(self) -> None:
        """Hear nothing more of anybody."""
        self._is_shut = True
        for track_sid in tuple(self._ears):
            self._shut_ear(track_sid)

    def connected(self, participant: rtc.RemoteParticipant) -> None:
        """Somebody is in the room."""
        if participant.kind != AGENT_KIND:
            return
        stay, at = self._stay_of(participant)
        if state := participant.attributes.get(STATE_ATTRIBUTE):
            self._witness.state(stay, state=state, at=at)
        self._noticed()

    def _stay_of(self, agent: rtc.Participant) -> tuple[AgentStay, float]:
        at = self._loop.time()
        fence = _number(agent.attributes.get(FENCE_ATTRIBUTE, ""))
        return self._witness.seen(identity=agent.identity, sid=agent.sid, at=at, fence=fence), at

    def _gone(self, participant: rtc.RemoteParticipant) -> None:
        self._witness.left(sid=participant.sid, at=self._loop.time())
        for sid in participant.track_publications:
            self._shut_ear(sid)
        self._noticed()

    def _attributes(self, changed: dict[str, str], participant: rtc.Participant) -> None:
        if participant.kind == AGENT_KIND and STATE_ATTRIBUTE in changed:
            stay, at = self._stay_of(participant)
            self._witness.state(stay, state=changed[STATE_ATTRIBUTE], at=at)
            self._noticed()

    def _subscribed(
        self, track: rtc.Track, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if participant.kind != AGENT_KIND or track.kind != rtc.TrackKind.KIND_AUDIO or self._is_shut:
            return
        stay, at = self._stay_of(participant)
        self._witness.subscribed(stay, at=at)
        self._shut_ear(track.sid)
        ear = Ear(track, lambda samples, heard_at: self._hear(stay, samples, heard_at))
        self._ears[track.sid] = (stay, ear)
        listening = self._group.create_task(ear.run(), name="caller_ear")
        self.listening.add(listening)
        listening.add_done_callback(self.listening.discard)
        self._noticed()

    def _unsubscribed(self, track: rtc.Track, *_: Any) -> None:
        self._shut_ear(track.sid)

    def _shut_ear(self, track_sid: str) -> None:
        if there := self._ears.pop(track_sid, None):
            stay, ear = there
            ear.shut()
            self._witness.unsubscribed(stay)

    def _hear(self, stay: AgentStay, samples: Samples, at: float) -> None:
        self._witness.frame(stay, at=at, audible=is_audible(samples))
        if self.tape is not None:
            self.tape.put(Side.AGENT, stay.sid, samples, starts_at=at - FRAME_S)
        self._noticed()


def _number(text: str) -> int:
    """A fence as it stands in an attribute; 0 for an agent that shows none."""
    return int(text) if text.isascii() and text.isdigit() else 0
