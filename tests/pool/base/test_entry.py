"""The command `roompool` as a user runs it: its help, its errors, its exit statuses."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pool.base.entry import launch
from pool.base.errors import SettingsInvalid
from pool.commands import create_app

ROOT = Path(__file__).parents[3]


def verb(name: str, target: str) -> EntryPoint:
    return EntryPoint(name, target, "roompool.commands")


def hello() -> None:
    """Say hello."""
    typer.echo("hello")


VERBS = {
    "hello": verb("hello", f"{__name__}:hello"),
    "absent": verb("absent", "no_such_package.commands:absent"),
    "misnamed": verb("misnamed", f"{__name__}:no_such_function"),
}


def test_help_lists_every_verb_and_says_which_is_broken() -> None:
    """A verb that cannot be loaded costs a line, not the help of the others."""
    result = CliRunner().invoke(create_app(VERBS, asked_for=["--help"]), ["--help"], terminal_width=200)
    assert result.exit_code == 0
    assert "Say hello." in result.output
    assert "cannot be loaded: ModuleNotFoundError" in result.output
    assert "cannot be loaded: AttributeError" in result.output


def test_only_the_verb_asked_for_is_loaded() -> None:
    """A broken neighbour does not matter, and a slow one is not waited for."""
    app = create_app(VERBS, asked_for=["hello"])
    assert CliRunner().invoke(app, ["hello"]).output == "hello\n"


def test_an_unknown_verb_is_exit_2() -> None:
    """With a word on it, as for any wrong option."""
    result = CliRunner().invoke(create_app(VERBS, asked_for=["sing"]), ["sing"])
    assert result.exit_code == 2
    assert "sing" in result.output


class OtherPackagesError(Exception):
    problems = ("ONE: is not set.", "TWO: is wrong.")


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SettingsInvalid(["ONE: is not set.", "TWO: is wrong."]), 2, "ONE: is not set.\nTWO: is wrong.\n"),
        (OtherPackagesError(), 2, "ONE: is not set.\nTWO: is wrong.\n"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(1), 1, ""),
    ],
    ids=["settings", "settings of a package that knows us not", "ctrl-c", "exit"],
)
def test_an_error_a_person_can_cure_is_a_line_and_a_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str
) -> None:
    """No stack trace; every line on stderr."""
    monkeypatch.setattr("pool.base.logs.configure", lambda **_: None)  # it would replace pytest's own set-up
    with pytest.raises(SystemExit) as caught:
        launch(raising(error))
    assert caught.value.code == status
    assert capsys.readouterr().err == said


def test_python_m_runs_the_same_command(tmp_path: Path) -> None:
    """`python -m pool.commands` needs no script on PATH."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "pool.commands", "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=30, check=True
    )
    assert "webhook" in done.stdout
    assert "Traceback" not in done.stderr
