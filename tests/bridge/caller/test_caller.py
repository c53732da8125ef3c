"""The synthetic caller in a real room, beside an agent that plays tones at known moments.

Tolerances are wide: they tell a right measure from a wrong one, not a fast machine from a slow one.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from bridge.caller.caller import Caller
from bridge.caller.ear import Ear
from bridge.caller.errors import CallOver, CannotJoin, NotInTime
from bridge.caller.sound import AUDIBLE_DBFS, SILENCE_DBFS, Samples, Speech, level_dbfs
from bridge.caller.tape import Side
from deploy.local.livekit_server import LiveKitServer
from tests.bridge.caller.tone_agent import ToneAgent, tone

pytestmark = pytest.mark.livekit

NEAR_S = 0.4
"""How far a measured moment may lie behind the played one: network, jitter buffer and a busy machine."""

Join = Callable[..., Caller]
Bring = Callable[..., ToneAgent]


@pytest.fixture
def room() -> str:
    return f"room-{secrets.token_hex(4)}"


@pytest.fixture
def join(livekit: LiveKitServer, room: str) -> Join:
    """Make a caller of this test's room."""

    def make(**options: float) -> Caller:
        record_max_s = options.get("record_max_s", 0.0)
        return Caller(livekit.url, key=livekit.api_key, secret=livekit.api_secret, room=room, record_max_s=record_max_s)

    return make


@pytest.fixture
def bring(livekit: LiveKitServer, room: str) -> Bring:
    """Make an agent of this test's room."""

    def make(identity: str = "voice-agent") -> ToneAgent:
        return ToneAgent(livekit.url, key=livekit.api_key, secret=livekit.api_secret, room=room, identity=identity)

    return make


async def test_an_agent_is_seen_subscribed_heard_and_gone_in_that_order(join: Join, bring: Bring) -> None:
    """Each moment is measured close to when it happened, and none before its cause."""
    loop = asyncio.get_running_loop()
    async with join() as caller:
        came_at = loop.time()
        async with bring() as agent:
            stay = await caller.agent_seen(10)
            await agent.until_subscribed()
            began_at, _ = await agent.play(tone(0.5))
            heard_at = await caller.agent_heard(10)
            leaves_at = loop.time()
        gone_at = await caller.agent_gone(10)

    assert stay.subscribed_at is not None
    moments = [caller.connect_began_at, caller.connected_at, came_at, stay.seen_at, stay.subscribed_at, heard_at]
    assert all(first <= second for first, second in pairwise([*moments, gone_at]))
    assert 0 <= heard_at - began_at < NEAR_S
    assert -0.1 <= gone_at - leaves_at < NEAR_S
    assert list(caller.witness.presence) == [(stay.seen_at, 1), (gone_at, 0)]


async def test_sound_and_gaps_are_as_long_as_they_were_played(join: Join, bring: Bring) -> None:
    """Two tones and the pause between them come out with their lengths."""
    loop = asyncio.get_running_loop()
    async with join() as caller, bring() as agent:
        await agent.until_subscribed()
        first = await agent.play(tone(0.4))
        await agent.play(bytes(48_000))
        second = await agent.play(tone(0.6))
        silent_at = await caller.until_agent_silent(300, 5)
        sounds, until = caller.witness, loop.time()

    assert 0 <= silent_at - second[1] < NEAR_S
    assert sounds.heard_between(first[0], until) == pytest.approx(1.0, abs=0.15)
    assert sounds.longest_gap(first[0], second[1]) == pytest.approx(1.0, abs=0.25)
    assert sounds.heard_between(first[1] + NEAR_S, second[0]) == 0


async def test_an_interrupted_agent_is_timed_from_our_first_word(join: Join, bring: Bring) -> None:
    """The barge-in measure is onset of our voice to the agent's last audible frame."""
    async with join() as caller, bring() as agent, asyncio.TaskGroup() as group:
        await agent.until_subscribed()
        group.create_task(agent.play(tone(2.0)))
        await caller.until_agent_audible(5)
        spoken = await caller.say(tone(0.5))
        stopped_at = await caller.fell_silent(spoken.started_at, 300, 5)

    ended_at = caller.witness.last_audible_at
    assert stopped_at == ended_at
    assert stopped_at - spoken.started_at == pytest.approx(2.0, abs=0.5)


async def test_our_voice_takes_as_long_as_its_samples_and_silence_is_not_voice(join: Join) -> None:
    """Real time, not as fast as the queue takes it; two utterances follow each other."""
    async with join() as caller, asyncio.TaskGroup() as group:
        first = group.create_task(caller.say(bytes(24_000) + tone(0.6)))
        second = group.create_task(caller.say(tone(0.4)))

    began, ended = first.result()
    assert ended - began == pytest.approx(0.6, abs=0.2)
    assert second.result().started_at >= ended
    assert second.result().ended_at - second.result().started_at == pytest.approx(0.4, abs=0.2)


async def test_our_voice_is_heard_in_the_room_and_is_on_our_side_of_the_recording(join: Join, bring: Bring) -> None:
    """What we say arrives at the agent, about as loud as it was said."""
    loudest_dbfs = SILENCE_DBFS

    def hear(samples: Samples, _at: float) -> None:
        nonlocal loudest_dbfs
        loudest_dbfs = max(loudest_dbfs, level_dbfs(samples))

    async with bring() as agent, asyncio.TaskGroup() as group:
        ears: asyncio.Queue[Ear] = asyncio.Queue(1)
        agent.room.on("track_subscribed", lambda track, *_: ears.put_nowait(Ear(track, hear)))
        async with join(record_max_s=20) as caller:
            ear = await ears.get()
            group.create_task(ear.run())
            await caller.say(tone(0.8))
            await caller.stay(0.3)
            ear.shut()

    assert loudest_dbfs == pytest.approx(level_dbfs(Speech.of_pcm16(tone(0.8)).samples), abs=6)
    assert caller.tape is not None
    assert level_dbfs(caller.tape.frames[:, Side.CALLER]) > AUDIBLE_DBFS
    assert level_dbfs(caller.tape.frames[:, Side.AGENT]) < AUDIBLE_DBFS


async def test_two_agents_are_seen_and_heard_as_two(join: Join, bring: Bring) -> None:
    """The instrument shows the one failure it exists to find."""
    async with join() as caller, bring("agent-one") as one, bring("agent-two") as two:
        await one.until_subscribed()
        await two.until_subscribed()
        async with asyncio.TaskGroup() as group:
            group.create_task(one.play(tone(0.6)))
            group.create_task(two.play(tone(0.6, hertz=660)))
        await caller.until_agent_silent(300, 5)

    assert (caller.witness.agents_max, caller.witness.audible_max) == (2, 2)
    assert caller.witness.overlap_s() > 0.3


async def test_an_agent_evicted_by_its_successor_is_never_two(join: Join, bring: Bring) -> None:
    """The second join with one identity throws out the first: two stays, one agent at a time."""
    async with join() as caller, bring() as first:
        await first.until_subscribed()
        await first.play(tone(0.3))
        handed_over_at = asyncio.get_running_loop().time()
        async with bring() as second:
            await caller.agent_seen(10, since=handed_over_at)
            await second.until_subscribed()
            await second.play(tone(0.3))
            await caller.agent_heard(10, since=handed_over_at)

    assert len(caller.witness.stays) == 2
    assert (caller.witness.agents_max, caller.witness.audible_max) == (1, 1)


async def test_the_state_an_agent_shows_is_recorded(join: Join, bring: Bring) -> None:
    """Each change of `lk.agent.state` once, in order."""
    async with join() as caller, bring() as agent:
        for state in ("listening", "speaking", "listening"):
            await agent.show(state)
            await caller.agent_state(state, 5)

    assert [state for _, state in caller.witness.stays[0].states] == ["listening", "speaking", "listening"]


async def test_a_full_reconnect_of_ours_is_survived_and_heard_through(join: Join, bring: Bring) -> None:
    """After the SDK rebuilt its session, the agent is seen again, and heard."""
    async with join() as caller, bring() as agent:
        await agent.until_subscribed()
        await caller.reconnect_fully()
        back_at = caller.connection[-1][0]
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.play(tone(1.5)))
            await caller.until_agent_audible(10, since=back_at)

    assert [word for _, word in caller.connection] == ["reconnecting", "reconnected"]
    assert caller.witness.agents_max == 1


async def test_what_does_not_happen_is_not_in_time(join: Join) -> None:
    """A wait ends at its limit with a sentence that says what was missing."""
    async with join() as caller:
        with pytest.raises(NotInTime, match=r"no agent was seen in the room within 0\.2 s"):
            await caller.agent_seen(0.2)
        with pytest.raises(NotInTime, match="no agent was heard"):
            await caller.agent_heard(0.2)


async def test_hanging_up_ends_what_is_being_said_and_awaited(join: Join) -> None:
    """Nobody waits for a call that is over, and hanging up twice is hanging up once."""
    async with join() as caller, asyncio.TaskGroup() as group:
        saying = group.create_task(_outcome(caller.say(tone(5.0))))
        waiting = group.create_task(_outcome(caller.agent_seen(20)))
        await caller.stay(0.2)
        await caller.hang_up()
        await caller.hang_up()

    assert isinstance(saying.result(), CallOver)
    assert isinstance(waiting.result(), CallOver)


async def _outcome(awaitable: object) -> object:
    try:
        return await awaitable  # type: ignore[misc]
    except CallOver as error:
        return error


async def test_the_bodys_own_error_comes_out_as_it_is(join: Join) -> None:
    """No group wrapped round it, and no task left behind."""
    with pytest.raises(LookupError, match="mine"):
        async with join():
            raise LookupError("mine")

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_join_is_seen_through_and_left(join: Join) -> None:
    """Cancelling never reaches the SDK: the join completes, then the caller leaves, then we are cancelled."""
    caller = join()

    async def enter() -> None:
        async with caller:
            pytest.fail("entered although cancelled")

    async with asyncio.TaskGroup() as group:
        entering = group.create_task(enter())
        asyncio.get_running_loop().call_later(0.01, entering.cancel)

    assert entering.cancelled()
    assert caller.left_at > 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_refused_token_is_said_to_be_refused(livekit: LiveKitServer) -> None:
    """A wrong secret ends in one sentence that holds no secret."""
    secret = secrets.token_urlsafe(32)
    with pytest.raises(CannotJoin) as refused:
        async with Caller(livekit.url, key=livekit.api_key, secret=secret, room="refused"):
            pytest.fail("joined with a wrong secret")

    assert secret not in str(refused.value)


async def call(livekit: LiveKitServer, *arguments: str) -> asyncio.subprocess.Process:
    """Start `roompool call` as a user would."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pool.commands", "call", *arguments),
        env={**os.environ, **livekit.env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_reports_a_call_as_json_and_exits_0(
    livekit: LiveKitServer, room: str, bring: Bring, tmp_path: Path
) -> None:
    """A greeting, one turn and its reply, timed; the recording is written."""
    recording = tmp_path / "call.wav"
    calling = await call(livekit, room, "--json", "--record", str(recording))
    async with bring() as agent:
        await agent.until_subscribed()
        await agent.play(tone(0.5))
        await agent.play(bytes(48_000 * 5))
        await agent.play(tone(0.8))
        async with asyncio.timeout(30):
            out, _ = await calling.communicate()

    report = json.loads(out)
    assert calling.returncode == 0, report["problems"]
    assert report["ok"]
    assert report["turns"][0]["reply_delay_ms"] >= 0
    assert (report["agents_max"], report["audible_max"]) == (1, 1)
    assert recording.stat().st_size > 100_000


async def test_the_command_exits_1_when_the_agent_says_nothing(livekit: LiveKitServer, room: str, bring: Bring) -> None:
    """An agent that is there and silent is a failed call, and the line says which room to ask about."""
    async with bring():
        calling = await call(livekit, room, "--turns", "0")
        async with asyncio.timeout(30):
            out, _ = await calling.communicate()

    assert calling.returncode == 1
    assert b"the agent was never heard" in out
    assert f"roompool why {room}".encode() in out


async def test_the_command_names_every_missing_setting_and_exits_2(livekit: LiveKitServer) -> None:
    """All faults at once, each with its variable and the cure."""
    calling = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pool.commands", "call", "demo"),
        env={name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        _, err = await calling.communicate()

    assert calling.returncode == 2
    for variable in (b"LIVEKIT_URL", b"LIVEKIT_API_KEY", b"LIVEKIT_API_SECRET"):
        assert variable in err
