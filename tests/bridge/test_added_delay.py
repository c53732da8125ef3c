"""What is counted of the delay that the bridge itself adds: only what waits for nothing but us."""

import pytest
from prometheus_client import REGISTRY

from bridge.caller.wav import hello, interruption
from bridge.simulator import Faults
from tests.bridge.harness import Harness

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(120)]


class Counted:
    """How often something was observed since the test began."""

    def __init__(self, what: str) -> None:
        self._name = f"roompool_{what}_seconds_count"
        self._before = self._total()

    def __int__(self) -> int:
        return round(self._total() - self._before)

    def _total(self) -> float:
        return REGISTRY.get_sample_value(self._name) or 0.0


async def test_an_answer_and_the_callers_frames_are_counted(harness: Harness) -> None:
    """One observation a reply that had nobody to wait for, and one a frame of the caller's."""
    replies, frames = Counted("reply_added"), Counted("caller_added")
    async with harness.caller() as caller, harness.call():
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        greetings = int(replies)
        said = await caller.say(hello())
        await caller.until_agent_audible(since=said.ended_at)
        await caller.hang_up()
    assert greetings <= 1  # it counts when somebody listened before it came
    assert int(replies) == greetings + 1
    assert int(frames) > 20


async def test_nothing_is_counted_of_an_agent_who_may_not_speak(harness: Harness) -> None:
    """Speech that is held back waits for the lease."""
    replies = Counted("reply_added")
    harness.owner.speak = False
    async with harness.caller() as caller, harness.call():
        await caller.agent_seen()
        await harness.simulator.until(lambda sessions: sessions[0].frames_sent > 100)
        await caller.hang_up()
    assert int(replies) == 0


async def test_words_that_were_kept_for_the_voice_are_not_counted(harness: Harness) -> None:
    """They waited because no voice listened, and those after them because of them."""
    frames = Counted("caller_added")
    harness.simulator.faults = Faults(slow_ready_ms=4000)
    async with harness.caller() as caller, harness.call():
        await harness.owner.until("joined")
        await caller.say(hello())
        await harness.simulator.until(lambda sessions: sessions[0].turns == 1, limit_s=20)
        assert int(frames) == 0
        await caller.hang_up()


async def test_an_interruption_is_counted_once(harness: Harness) -> None:
    """The voice tells of it twice, by the caller's turn and by the reply's end; the queue is emptied once."""
    flushes = Counted("barge_in_flush")
    harness.simulator.faults = Faults(long_reply=True)
    async with harness.caller() as caller, harness.call():
        await caller.agent_heard()
        await caller.until_agent_silent(for_ms=400)
        said = await caller.say(hello())
        await caller.until_agent_audible(since=said.ended_at)
        cut = await caller.say(interruption())
        await caller.fell_silent(cut.started_at, for_ms=300)
        await caller.hang_up()
    assert int(flushes) == 1
    assert harness.simulator.sessions()[0].interruptions == 1
    cuts = [reply for reply in harness.simulator.sessions()[0].said if reply.cut_unix_ms is not None]
    assert [reply.frames_sent > 0 for reply in cuts] == [True]
    assert all(reply.cut_unix_ms is not None and reply.cut_unix_ms > reply.began_unix_ms for reply in cuts)
