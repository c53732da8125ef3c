"""`webhook.settings`: what may be set, and what is said when it cannot be."""

from pathlib import Path

import pytest

from pool.base.errors import SettingsInvalid
from pool.base.settings import load
from webhook.settings import WebhookSettings

GOOD = {"LIVEKIT_API_KEY": "devkey", "LIVEKIT_API_SECRET": "s" * 32}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is set but the key and its secret."""
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "ROOMPOOL_ROOMS", "ROOMPOOL_AGENT_IDENTITY", "ROOMPOOL_WEBHOOK_KEYS", "LIVEKIT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ROOMPOOL_TALK_PAGE", raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_two_variables_are_enough() -> None:
    """Everything else has a value that serves."""
    settings = load(WebhookSettings)
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert (settings.rooms, settings.agent_identity, settings.talk_page) == (("*",), "voice-agent", False)
    assert settings.keys() == {"devkey": b"s" * 32}


@pytest.mark.parametrize(
    ("text", "globs"),
    [
        ("a-*, b ,", ("a-*", "b")),
        ('["a,b", "c"]', ("a,b", "c")),
        ("[ab]*", ("[ab]*",)),
        ("[3]", ("[3]",)),
        ("*", ("*",)),
    ],
)
def test_rooms_are_a_list_of_patterns(monkeypatch: pytest.MonkeyPatch, text: str, globs: tuple[str, ...]) -> None:
    """With commas between or as JSON; a bracket may open a pattern, too."""
    monkeypatch.setenv("ROOMPOOL_ROOMS", text)
    assert load(WebhookSettings).rooms == globs


@pytest.mark.parametrize("text", ["old:x:y,new:z", '{"old": "x:y", "new": "z"}'])
def test_further_keys_are_pairs(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """As a list or a JSON object; a secret may hold a colon."""
    monkeypatch.setenv("ROOMPOOL_WEBHOOK_KEYS", text)
    assert load(WebhookSettings).keys() == {"old": b"x:y", "new": b"z", "devkey": b"s" * 32}


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("LIVEKIT_API_KEY", ""),
        ("LIVEKIT_API_SECRET", ""),
        ("LIVEKIT_API_SECRET", "-----BEGIN PUBLIC KEY-----\nhush\n-----END PUBLIC KEY-----"),
        ("ROOMPOOL_WEBHOOK_KEYS", "hush"),
        ("ROOMPOOL_WEBHOOK_KEYS", "key:"),
        ("ROOMPOOL_WEBHOOK_KEYS", '{"hush": '),
        ("ROOMPOOL_WEBHOOK_KEYS", '{"key": 3}'),
        ("ROOMPOOL_WEBHOOK_KEYS", '{"key": ""}'),
        ("REDIS_URL", "http://hush@127.0.0.1"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://:hush@127.0.0.1:port/0"),
        ("REDIS_URL", "unix://"),
        ("ROOMPOOL_ROOMS", " , "),
        ("ROOMPOOL_TALK_PAGE", "maybe"),
        ("ROOMPOOL_TALK_PAGE", "1"),
    ],
)
def test_a_wrong_value_is_named_with_its_cure_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    """One line, beginning with the variable; it may have been a secret."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsInvalid) as caught:
        load(WebhookSettings)
    (problem,) = caught.value.problems
    assert problem.startswith(variable)
    assert "Cure: " in problem
    assert "hush" not in problem


def test_settings_do_not_show_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when printed."""
    monkeypatch.setenv("LIVEKIT_API_SECRET", "hush" * 8)
    monkeypatch.setenv("ROOMPOOL_WEBHOOK_KEYS", "old:hush")
    monkeypatch.setenv("REDIS_URL", "redis://:hush@127.0.0.1:6379/0")
    assert "hush" not in repr(load(WebhookSettings))
