"""Settings of a call: what is taken, and that what is wrong is named."""

import pytest
from pydantic import ValidationError

from bridge.settings import BridgeSettings

GOOD = {
    "LIVEKIT_URL": "ws://127.0.0.1:7880",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "secret",
    "ASSEMBLYAI_API_KEY": "vendor",
}


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> BridgeSettings:
    """The settings that an environment of exactly these variables gives."""
    for field in BridgeSettings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)
    for name, value in {**GOOD, **variables}.items():
        monkeypatch.setenv(name, value)
    return BridgeSettings(_env_file=None)


def test_four_variables_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else has a default; turn detection is left to the vendor."""
    settings = read(monkeypatch)
    assert settings.voice_spec().turn_detection is None
    assert settings.link_spec().url.startswith("wss://")


@pytest.mark.parametrize("value", ["alba, anna", '["alba", "anna"]'], ids=["commas", "json"])
def test_a_list_is_written_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Both read the same."""
    assert read(monkeypatch, ROOMPOOL_VOICES=value).voices == ("alba", "anna")


def test_no_greeting_is_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as unset, so `none` says that the caller speaks first."""
    assert read(monkeypatch, ROOMPOOL_GREETING="none").voice_spec().greeting == ""
    assert read(monkeypatch, ROOMPOOL_RETURN_SENTENCE="None").voice_spec().return_sentence == ""
    assert read(monkeypatch).voice_spec().return_sentence


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LIVEKIT_URL", "http://127.0.0.1:7880"),
        ("ASSEMBLYAI_API_KEY", "key "),
        ("ROOMPOOL_VOICE_DIALECT", "latin"),
        ("ROOMPOOL_VOICE_DIALECT", "loopback"),  # without its address
        ("ROOMPOOL_VOICE_URL", "loopback:twice"),
        ("ROOMPOOL_KEYTERMS", "x" * 51),
        ("ROOMPOOL_QUEUE_MS", "105"),
        ("ROOMPOOL_VOICES", "[1"),
        ("ROOMPOOL_VOICES", ","),
        ("ROOMPOOL_MAX_CALL_S", "soon"),
        ("ROOMPOOL_TURN_DETECTION", "[1]"),
    ],
)
def test_a_wrong_value_is_refused_by_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """At start, not in the first call."""
    with pytest.raises(ValidationError) as refused:
        read(monkeypatch, **{variable: value})
    assert [(variable,)] == [fault["loc"][:1] for fault in refused.value.errors()]


def test_a_voice_in_this_process_has_its_own_dialect_and_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without the other would be a call to nowhere."""
    both = read(monkeypatch, ROOMPOOL_VOICE_DIALECT="loopback", ROOMPOOL_VOICE_URL="loopback:once")
    assert (both.link_spec().dialect, both.link_spec().url) == ("loopback", "loopback:once")


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings object, a spec, a traceback with either: none holds a key in clear."""
    settings = read(monkeypatch)
    shown = repr(settings) + str(settings.link_spec())
    assert "vendor" not in shown
    assert "'secret'" not in shown
