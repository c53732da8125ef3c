"""What to do after a voice session failed."""

import pytest

from bridge.errors import VoiceBusy, VoiceClosed, VoiceError, VoiceMisfit, VoiceRefused
from bridge.voice.retry import ATTEMPTS, LONGEST_WAIT_S, GiveUp, Retry, TryAgain


def test_a_refused_key_is_never_tried_again() -> None:
    """No repeat makes a wrong key right."""
    error = VoiceRefused("unauthorized")
    assert Retry(("alba",)).failed(error) == GiveUp(error)


def test_a_broken_link_is_redialled_at_once_and_then_with_growing_waits() -> None:
    """The caller hears a pause; many calls that break at one moment do not come back in one."""
    retry = Retry(("alba",))
    waits = []
    for _ in range(ATTEMPTS):
        step = retry.failed(VoiceClosed("dropped"))
        assert isinstance(step, TryAgain)
        waits.append(step.wait_s)
    assert waits[0] == 0
    assert all(0 < wait <= LONGEST_WAIT_S for wait in waits[1:])
    assert isinstance(retry.failed(VoiceClosed("dropped")), GiveUp)


def test_a_success_starts_the_attempts_anew() -> None:
    """Failures count in a row, not over a call's life."""
    retry = Retry(("alba",))
    for _ in range(ATTEMPTS):
        retry.failed(VoiceBusy("at_capacity"))
    retry.succeeded()
    assert isinstance(retry.failed(VoiceBusy("at_capacity")), TryAgain)


def test_an_unknown_voice_falls_back_to_the_next_one_that_the_peer_offers() -> None:
    """The peer's error names what it has; ours are tried in our order."""
    retry = Retry(("james", "sophie", "vera", "anna"))
    error = VoiceMisfit("invalid_value", param="output.voice", valid_voices=("anna", "vera"))
    assert retry.failed(error) == TryAgain(0.0, "vera")
    assert retry.voice == "vera"


@pytest.mark.parametrize(
    "error",
    [
        VoiceMisfit("invalid_value", param="output.voice", valid_voices=("anna",)),
        VoiceMisfit("invalid_value", param="llm"),
    ],
    ids=["none_of_ours_offered", "another_field"],
)
def test_a_configuration_that_nothing_of_ours_can_mend_is_given_up(error: VoiceError) -> None:
    """It is the operator's to change."""
    assert Retry(("james", "sophie")).failed(error) == GiveUp(error)


def test_a_peer_that_refuses_every_voice_without_a_list_is_asked_once_for_each() -> None:
    """However it answers, the attempts end."""
    retry = Retry(("james", "sophie"))
    error = VoiceMisfit("invalid_value", param="output.voice")
    assert [TryAgain(0.0, "sophie"), GiveUp(error)] == [retry.failed(error), retry.failed(error)]
