"""How long the agent's track is held back for a caller who has only just joined."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bridge.publish_moment import hold_ms
from tests.bridge.harness import Harness

NOON_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("callers_ms", "own_ms", "now_ms", "held_ms"),
    [
        pytest.param([], 60, 100, 0, id="nobody is there"),
        pytest.param([0], 60, 110, 40, id="a caller who has just joined"),
        pytest.param([0], 120, 160, 0, id="one who has been there for as long"),
        pytest.param([-HOUR_MS, 0], 60, 100, 0, id="one who waits, and one who has just joined"),
        pytest.param([0, 50], 60, 110, 40, id="two who have just joined"),
        pytest.param([90], 60, 110, 130, id="one who came after us"),
        pytest.param([0], 60, 100 - HOUR_MS, 90, id="our clock is slow: 60 ms it must have been"),
        pytest.param([0], 60, 100 + HOUR_MS, 40, id="our clock is fast: 110 ms it may have been"),
        pytest.param([HOUR_MS], 60, 100, 150, id="a time that cannot be"),
    ],
)
def test_a_track_is_held_back_until_its_caller_has_settled(
    callers_ms: list[int], own_ms: int, now_ms: int, held_ms: int
) -> None:
    """150 ms are wanted between the first caller's joining and the track; our own connecting took 50."""
    joined = [NOON_MS + caller_ms for caller_ms in callers_ms]
    held = hold_ms(
        joined, own_joined_ms=NOON_MS + own_ms, connect_took_ms=50, now_ms=NOON_MS + now_ms, publish_after_ms=150
    )
    assert held == held_ms


def test_nothing_is_held_back_where_nothing_is_wanted() -> None:
    """0 is off."""
    assert hold_ms([0], own_joined_ms=0, connect_took_ms=0, now_ms=0, publish_after_ms=0) == 0


@pytest.mark.livekit
@pytest.mark.timeout(120)
async def test_a_caller_has_the_track_no_sooner_than_was_asked_for(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a room: a track that is wanted after a second comes after a second, and meanwhile others may join."""

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        yield
        harness.owner.story.append("turn_over")

    monkeypatch.setattr(harness.owner, "turn_to_join", turn)
    async with harness.caller() as caller, harness.call(harness.spec(publish_after_ms=1000)):
        await caller.agent_heard()
        subscribed_at = caller.witness.subscribed_at
        assert subscribed_at is not None
        assert subscribed_at - caller.connect_began_at >= 1.0
        assert harness.owner.story.index("turn_over") < harness.owner.story.index("joined")
