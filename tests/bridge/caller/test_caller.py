"""The synthetic caller in a real room, beside an agent that plays tones at known moments.

Tolerances are wide: they tell a right measure from a wrong one, not a fast machine from a slow one.
"""

import asyncio
import json
import os
import secrets
import sys
import traceback
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from livekit import rtc

from bridge.audio import level_dbfs
from bridge.caller.caller import Caller
from bridge.caller.ear import Ear
from bridge.caller.errors import CallOver, CannotJoin, JoinFault, NotInTime
from bridge.caller.sound import Samples, is_audible
from bridge.caller.tape import Side
from deploy.local.livekit_server import LiveKitServer
from deploy.local.ports import free_port
from tests.bridge.caller.tone_agent import ToneAgent, tone

pytestmark = pytest.mark.livekit

NEAR_S = 1.0
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
        await agent.play(bytes(2 * 48_000))
        second = await agent.play(tone(0.6))
        silent_at = await caller.until_agent_silent(300, 5)
        sounds, until = caller.witness, loop.time()

    assert 0 <= silent_at - second[1] < NEAR_S
    assert sounds.heard_between(first[0], until) == pytest.approx(1.0, abs=0.3)
    assert sounds.longest_gap(first[0], second[1]) == pytest.approx(2.0, abs=0.8)
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
    assert stopped_at - spoken.started_at == pytest.approx(2.0, abs=1.0)


async def test_our_voice_takes_as_long_as_its_samples_and_silence_is_not_voice(join: Join) -> None:
    """Real time, not as fast as the queue takes it; two utterances follow each other."""
    async with join() as caller, asyncio.TaskGroup() as group:
        first = group.create_task(caller.say(bytes(24_000) + tone(0.6)))
        second = group.create_task(caller.say(tone(0.4)))

    began, ended = first.result()
    assert 0.4 < ended - began < 2.6
    assert second.result().started_at >= ended
    assert 0.2 < second.result().ended_at - second.result().started_at < 2.4


async def test_our_voice_is_heard_in_the_room_and_is_on_our_side_of_the_recording(join: Join, bring: Bring) -> None:
    """What we say arrives at the agent, about as loud as it was said."""
    loudest_dbfs = level_dbfs(b"")

    def hear(samples: Samples, _at: float) -> None:
        nonlocal loudest_dbfs
        loudest_dbfs = max(loudest_dbfs, level_dbfs(samples.tobytes()))

    async with bring() as agent, asyncio.TaskGroup() as group:
        ears: asyncio.Queue[Ear] = asyncio.Queue(1)
        agent.room.on("track_subscribed", lambda track, *_: ears.put_nowait(Ear(track, hear)))
        async with join(record_max_s=20) as caller:
            ear = await ears.get()
            group.create_task(ear.run())
            await caller.say(tone(0.8))
            await caller.stay(0.3)
            ear.shut()

    assert loudest_dbfs == pytest.approx(level_dbfs(tone(0.8)), abs=6)
    assert caller.tape is not None
    assert is_audible(caller.tape.frames[:, Side.CALLER])
    assert not is_audible(caller.tape.frames[:, Side.AGENT])


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
            async with asyncio.TaskGroup() as group:
                heard = group.create_task(caller.agent_heard(10, since=handed_over_at))
                while not heard.done():  # subscribed is not yet connected: the first packets may go nowhere
                    await second.play(tone(0.3))

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


@pytest.mark.parametrize("turns_of_the_loop", [0, 1, 3, 10, 100])
async def test_a_cancelled_hang_up_leaves_no_ghost(join: Join, bring: Bring, turns_of_the_loop: int) -> None:
    """Wherever in it the cancellation strikes, the server sees the caller go, by its own will, and we are cancelled."""
    gone: asyncio.Queue[rtc.DisconnectReason.ValueType | None] = asyncio.Queue(1)
    async with bring() as agent:
        agent.room.on("participant_disconnected", lambda who: gone.put_nowait(who.disconnect_reason))
        async with join() as caller:
            await caller.agent_seen(10)
            async with asyncio.TaskGroup() as group:
                saying = group.create_task(_outcome(caller.say(tone(5.0))))
                await caller.stay(0.2)
                hanging_up = group.create_task(caller.hang_up())
                for _ in range(turns_of_the_loop):
                    await asyncio.sleep(0)
                was_over = hanging_up.done()
                hanging_up.cancel()
                await asyncio.wait([hanging_up])
                assert hanging_up.cancelled() or was_over
                assert caller.left_at > 0 or not turns_of_the_loop
                await caller.hang_up()
        async with asyncio.timeout(5):
            assert await gone.get() == rtc.DisconnectReason.CLIENT_INITIATED

    assert isinstance(saying.result(), CallOver)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_caller_cancelled_while_it_leaves_takes_its_tasks_along(join: Join, bring: Bring) -> None:
    """The end of the block is a hang-up, too: cancelled within, it is out of the room and nothing runs on."""
    here, body_over, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
    caller, agent = join(), bring()

    async def make_a_call() -> None:
        async with caller:
            await here.wait()
            body_over.set()

    async with agent:
        agent.room.on("track_subscribed", lambda *_: here.set())
        agent.room.on("participant_disconnected", lambda _who: gone.set())
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(make_a_call())
            await body_over.wait()
            calling.cancel()
        assert calling.cancelled()
        async with asyncio.timeout(5):
            await gone.wait()

    assert caller.left_at > 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_refused_token_is_said_to_be_refused(livekit: LiveKitServer) -> None:
    """A wrong secret ends in one sentence of ours and its cure; the token is in neither, nor in a traceback."""
    secret = secrets.token_urlsafe(32)
    with pytest.raises(CannotJoin) as refused:
        async with Caller(livekit.url, key=livekit.api_key, secret=secret, room="refused"):
            pytest.fail("joined with a wrong secret")

    assert refused.value.fault is JoinFault.REFUSED
    assert "LIVEKIT_API_SECRET" in refused.value.cure
    told = "".join(traceback.format_exception(refused.value))
    assert "eyJ" not in told
    assert secret not in told


async def test_a_server_that_is_not_there_is_said_to_be_unreachable() -> None:
    """Nobody takes a closed port for a refusal, though the system's own word for it is one."""
    with pytest.raises(CannotJoin) as unreachable:
        async with Caller(f"ws://127.0.0.1:{free_port()}", key="key", secret="s" * 32, room="nowhere"):
            pytest.fail("joined nothing")

    assert unreachable.value.fault is JoinFault.UNREACHABLE
    assert "LIVEKIT_URL" in unreachable.value.cure


async def call(livekit: LiveKitServer, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    """Start `roompool call` as a user would."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pool.commands", "call", *arguments),
        env={**os.environ, **livekit.env, **variables},
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
            out, err = await calling.communicate()

    report = json.loads(out)
    assert calling.returncode == 0, report["problems"]
    assert err == b""
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


async def test_the_command_says_why_it_could_not_join_and_nothing_of_the_sdk(livekit: LiveKitServer) -> None:
    """One line: the fault and its cure. The SDK's own lines, which repeat the token, are for level debug."""
    calling = await call(livekit, "demo", LIVEKIT_API_SECRET="another secret, thirty-two bytes or more")
    async with asyncio.timeout(30):
        out, err = await calling.communicate()

    assert (calling.returncode, out) == (1, b"")
    (line,) = err.decode().splitlines()
    assert line.startswith("cannot join the room: LiveKit refused the token. Cure: check LIVEKIT_API_KEY")


async def test_the_sdks_lines_are_there_for_whoever_asks_for_debug(livekit: LiveKitServer) -> None:
    """What it says before we end is one JSON line of ours each, at level debug, with the token masked."""
    secret = "another secret, thirty-two bytes or more"
    calling = await call(livekit, "demo", LIVEKIT_API_SECRET=secret, ROOMPOOL_LOG_LEVEL="debug", ROOMPOOL_LOG_JSON="1")
    async with asyncio.timeout(30):
        _, err = await calling.communicate()

    said = [json.loads(line) for line in err.splitlines() if line.startswith(b"{")]
    assert {(line["event"], line["level"]) for line in said} <= {("livekit_sdk", "debug")}
    assert b"eyJ" not in err


@pytest.mark.parametrize("address", ["http://127.0.0.1:7880", "127.0.0.1:7880"])
async def test_an_address_that_is_no_websocket_is_a_wrong_setting(livekit: LiveKitServer, address: str) -> None:
    """As for the workers: ws:// or wss://, and exit status 2."""
    calling = await call(livekit, "demo", LIVEKIT_URL=address)
    async with asyncio.timeout(20):
        _, err = await calling.communicate()

    assert calling.returncode == 2
    assert b"LIVEKIT_URL" in err
    assert b"ws:// or wss://" in err
