"""How a call begins, by what its grant says about those before it."""

from dataclasses import replace
from typing import Any

import pytest

from bridge import Opening, Said
from pool.memory import to_text
from pool.registry import Offer
from pool.settings import PoolSettings
from pool.specs import spec_for, stand_by_spec
from tests.pool.test_endings import GRANT

SAID = Said("caller", "hello")
TEXT = to_text(SAID, fence=6, number=1)


def settings(**more: Any) -> PoolSettings:
    return PoolSettings(
        _env_file=None,
        livekit_url="ws://127.0.0.1:7880",
        livekit_api_key="key",
        livekit_api_secret="a-secret-of-at-least-thirty-two-characters",
        assemblyai_api_key="any",
        **more,
    )


def test_a_room_that_nobody_had_is_greeted() -> None:
    """The first try, and nothing to remember."""
    spec = spec_for(GRANT, settings())
    assert (spec.room, spec.sid, spec.opening, spec.memory) == ("r", "RM_1", Opening.GREET, ())
    assert spec.opening_words == spec.voice.greeting


def test_whoever_follows_a_lost_owner_returns_with_what_was_said() -> None:
    """It says that it is back, and does not greet."""
    spec = spec_for(replace(GRANT, attempt=2, memory=(TEXT,)), settings())
    assert (spec.opening, spec.memory) == (Opening.RETURN, (SAID,))
    assert spec.opening_words == spec.voice.return_sentence
    assert spec_for(replace(GRANT, memory=(TEXT,)), settings(return_sentence="none")).opening_words == ""


def test_a_memory_that_nobody_can_read_is_none() -> None:
    """Then the call is greeted, as if it were new."""
    spec = spec_for(replace(GRANT, attempt=2, memory=("{",)), settings())
    assert spec.memory == ()
    assert spec.opening_words == spec.voice.greeting
    assert spec_for(replace(GRANT, attempt=2), settings(greeting="none")).opening_words == ""


def test_whoever_stands_by_goes_on_without_a_word() -> None:
    """With the turns up to the offer."""
    offer = Offer("r", "RM_1", 1, 7, "other", {"PA_1": 5}, (TEXT,))
    spec = stand_by_spec(offer, settings())
    assert (spec.room, spec.sid, spec.opening, spec.memory) == ("r", "RM_1", Opening.GO_ON, (SAID,))
    assert spec.opening_words == ""


@pytest.mark.parametrize(
    ("text", "after_s"), [("0", 0.0), ("30", 30.0), ("never", float("inf")), (" Never ", float("inf"))]
)
def test_when_calls_are_handed_over(text: str, after_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds, or a word."""
    monkeypatch.setenv("ROOMPOOL_HANDOVER_AFTER_S", text)
    assert settings().handover_after_s == after_s
