"""`pool.base.settings`: all that is wrong is said at once, by the variable's name, without its value."""

from pathlib import Path

import pytest
from pydantic import Field, SecretStr, field_validator
from structlog.testing import capture_logs

from pool.base.errors import SettingsInvalid
from pool.base.settings import Settings, load


class Sample(Settings):
    name: str = Field(validation_alias="SAMPLE_NAME", description="a name", examples=["anna"])
    limit_s: float = Field(default=3.0, validation_alias="ROOMPOOL_LIMIT_S", gt=0, description="seconds above 0.")
    secret: SecretStr = Field(default=SecretStr(""), validation_alias="ROOMPOOL_SECRET")

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr) -> SecretStr:
        if len(secret) < 8:
            raise ValueError("is too short")
        return secret


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("SAMPLE_NAME", "ROOMPOOL_LIMIT_S", "ROOMPOOL_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_every_fault_is_told_at_once_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing and what is wrong, in the order of the fields, and never what was set."""
    monkeypatch.setenv("ROOMPOOL_LIMIT_S", "-1234")
    monkeypatch.setenv("ROOMPOOL_SECRET", "hush")
    with pytest.raises(SettingsInvalid) as caught:
        load(Sample)
    assert caught.value.problems == (
        "SAMPLE_NAME: is not set. Cure: set it to a name, for example anna.",
        "ROOMPOOL_LIMIT_S: Input should be greater than 0. Cure: set it to seconds above 0.",
        "ROOMPOOL_SECRET: is too short.",
    )
    assert caught.value.__suppress_context__


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, nothing_set: Path) -> None:
    """And `.env` may hold variables of other programs."""
    (nothing_set / ".env").write_text("SAMPLE_NAME=file\nROOMPOOL_LIMIT_S=5\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("SAMPLE_NAME", "environment")
    settings = load(Sample, secret="long enough")
    assert (settings.name, settings.limit_s) == ("environment", 5.0)


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option of a command line is the nearest word."""
    monkeypatch.setenv("SAMPLE_NAME", "environment")
    assert load(Sample, name="option", secret="long enough").name == "option"


def test_an_empty_variable_is_one_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files leave them."""
    monkeypatch.setenv("SAMPLE_NAME", "anna")
    monkeypatch.setenv("ROOMPOOL_LIMIT_S", "")
    assert load(Sample, secret="long enough").limit_s == 3.0


def test_a_misspelt_variable_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process' variable is not."""
    monkeypatch.setenv("SAMPLE_NAME", "anna")
    monkeypatch.setenv("ROOMPOOL_LIMT_S", "4")
    monkeypatch.setenv("ROOMPOOL_CAPACITY", "8")
    with capture_logs() as lines:
        load(Sample, secret="long enough")
    warned = [line for line in lines if line["event"] == "setting_unknown"]
    assert [(line["variable"], line["did_you_mean"]) for line in warned] == [("ROOMPOOL_LIMT_S", "ROOMPOOL_LIMIT_S")]


def test_settings_cannot_be_changed() -> None:
    """They are read once, at start."""
    settings = load(Sample, name="anna", secret="long enough")
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, "name", "bert")  # noqa: B010 - the type checker knows it, too
