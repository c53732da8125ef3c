"""The link against the simulator, which passes the conformance suite of the service: real sockets, real times."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bridge.errors import VoiceBusy, VoiceClosed, VoiceError, VoiceMisfit, VoiceRefused
from bridge.simulator import Faults, Running, Simulator, SimulatorOptions
from bridge.spec import LinkSpec, VoiceSpec
from bridge.voice import link as voice_link
from bridge.voice.events import ReplyAudio, ReplyDone, ReplyStarted, VoiceEnded
from bridge.voice.link import VoiceLink

SPEC = VoiceSpec(prompt="You are a test.", greeting="Hello.")


async def dial(spec: LinkSpec, voice: VoiceSpec, name: str) -> VoiceLink:
    """Dial, and wait for what the dial owes the peer."""
    failure: VoiceError | None = None
    async with asyncio.TaskGroup() as farewells:
        try:
            return await voice_link.dial(spec, voice, name, farewells=farewells)
        except VoiceError as error:
            failure = error
    assert failure is not None
    raise failure


@pytest.fixture
async def simulator() -> AsyncIterator[Running]:
    async with Simulator(SimulatorOptions(ready_after_ms=0, greeting_after_ms=0)).serve() as running:
        yield running


def link_spec(simulator: Running, *, key: str = "any", ready_s: float = 10.0) -> LinkSpec:
    return LinkSpec(dialect="assemblyai", url=simulator.url, key=key, dial_s=5.0, ready_s=ready_s, farewell_s=5.0)


async def test_a_greeting_comes_as_one_reply_with_sound(simulator: Running) -> None:
    """Ready, then a reply that opens, is heard, and is done."""
    link = await dial(link_spec(simulator), SPEC, "alba")
    kinds: list[type] = []
    async with contextlib.aclosing(link.events()) as events:
        async for event in events:
            if not kinds or kinds[-1] is not type(event):
                kinds.append(type(event))
            if isinstance(event, ReplyDone):
                break
    assert [kinds[0], kinds[1], kinds[-1]] == [ReplyStarted, ReplyAudio, ReplyDone]
    assert await link.farewell()


async def test_a_farewell_ends_the_vendors_session(simulator: Running) -> None:
    """Without it the vendor bills on for half a minute."""
    link = await dial(link_spec(simulator), SPEC, "alba")
    assert await link.farewell()
    await simulator.until(lambda sessions: sessions[0].ending is not None)
    assert simulator.sessions()[0].ended_by_session_end
    assert simulator.sessions()[0].violations == {}


@pytest.mark.parametrize(
    ("faults", "key", "voice", "error"),
    [
        (Faults(), "refused", "alba", VoiceRefused("unauthorized")),
        (Faults(), "any", "james", VoiceMisfit("invalid_value")),
        (Faults(at_capacity_n=1), "any", "alba", VoiceBusy("at_capacity")),
        (Faults(agent_timeout_ms=1), "any", "alba", VoiceBusy("agent_timeout")),
        (Faults(no_ready=True), "any", "alba", VoiceBusy("not_ready_in_time")),
    ],
    ids=["key", "voice", "at_capacity", "agent_timeout", "no_ready"],
)
async def test_each_refusal_is_told_apart(
    simulator: Running, faults: Faults, key: str, voice: str, error: VoiceError
) -> None:
    """What a repeat may cure, what the operator must, and why."""
    simulator.faults = faults
    with pytest.raises(type(error)) as raised:
        await dial(link_spec(simulator, key=key, ready_s=1.0 if faults.no_ready else 20.0), SPEC, voice)
    assert raised.value.code == error.code


async def test_an_unknown_voice_comes_with_the_ones_that_are_offered(simulator: Running) -> None:
    """So that the next of ours can be tried without asking anybody."""
    with pytest.raises(VoiceMisfit) as raised:
        await dial(link_spec(simulator), SPEC, "james")
    assert raised.value.param == "output.voice"
    assert "alba" in raised.value.valid_voices


@pytest.mark.parametrize(
    "faults",
    [Faults(drop_after_ms=50), Faults(close_1011_after_ms=50), Faults(close_no_ended_after_ms=50)],
    ids=["dropped", "closed_1011", "closed_without_farewell"],
)
async def test_a_broken_link_is_no_farewell(simulator: Running, faults: Faults) -> None:
    """However it breaks, the reader learns it as an error."""
    simulator.faults = faults
    link = await dial(link_spec(simulator), SPEC, "alba")
    with pytest.raises(VoiceClosed):
        async for _ in link.events():
            pass


async def test_garbage_from_the_peer_is_passed_over(simulator: Running) -> None:
    """Unknown kinds, broken JSON and audio that is none do not end a call."""
    simulator.faults = Faults(garbage_frames=True, unknown_event=True, typeless_error=True, hang_up_after_turns=None)
    link = await dial(link_spec(simulator), SPEC, "alba")
    async with contextlib.aclosing(link.events()) as events:
        async for event in events:
            if isinstance(event, ReplyDone):
                break
    assert await link.farewell()


async def test_a_peer_that_hangs_up_ends_the_events(simulator: Running) -> None:
    """Its last word is VoiceEnded, and nothing is raised."""
    link = await dial(link_spec(simulator), SPEC, "alba")
    simulator.hang_up()
    last = None
    async for event in link.events():
        last = event
    assert isinstance(last, VoiceEnded)
    await link.abort()


async def test_a_farewell_that_nobody_answers_is_bounded(simulator: Running) -> None:
    """The socket is closed all the same."""
    simulator.faults = Faults(session_ended_missing=True)
    spec = LinkSpec(dialect="assemblyai", url=simulator.url, key="any", farewell_s=0.2)
    link = await dial(spec, SPEC, "alba")
    assert not await link.farewell()


async def test_nobody_listening_is_a_busy_voice() -> None:
    """A peer that is down may come back."""
    with pytest.raises(VoiceBusy):
        await dial(LinkSpec(dialect="assemblyai", url="ws://127.0.0.1:1/v1/ws", key="any"), SPEC, "alba")


async def test_a_cancelled_dial_ends_the_session_that_may_have_begun(simulator: Running) -> None:
    """Cancelled after its hello while the peer takes its time, it says good-bye, outside the path of the call."""
    simulator.faults = Faults(slow_ready_ms=600_000)
    async with asyncio.TaskGroup() as farewells, asyncio.TaskGroup() as group:
        dialling = group.create_task(voice_link.dial(link_spec(simulator), SPEC, "alba", farewells=farewells))
        await simulator.until(lambda sessions: any(one.client_messages.get("session.update") for one in sessions))
        dialling.cancel()
    await simulator.until(lambda sessions: sessions[0].ending is not None)
    assert simulator.sessions()[0].ended_by_session_end


async def test_a_voice_takes_other_instructions_in_mid_session(simulator: Running) -> None:
    """Once taken they are echoed; nothing is said because of them."""
    link = await dial(link_spec(simulator), VoiceSpec(prompt="Before."), "alba")
    await link.instruct(VoiceSpec(prompt="After.", greeting="Never said."))
    await simulator.until(lambda sessions: (sessions[0].config or {}).get("system_prompt") == "After.")
    assert await link.farewell()
    assert simulator.sessions()[0].replies == 0
