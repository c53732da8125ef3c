"""Virtual environments from a hashed lock: with `uv` when it is on PATH, else with `venv` and `pip`.

Standard library only: `./dev` uses it before anything is installed.
"""

import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from deploy.local.steps import Say, StepFailed, run_step

_LIMIT_S = 900.0


class VenvFailed(RuntimeError):
    """An environment could not be made; the text names the command that failed and shows what it said."""


def make(folder: Path, lock: Path, *, say: Say) -> Path:
    """Make `folder` afresh, install exactly what `lock` names, and return its Python.

    Raises:
        VenvFailed: This Python cannot make one, or an install failed; the folder is removed again.
    """
    try:
        make_empty(folder, say=say)
        install(folder, ["--require-hashes", "-r", str(lock)], say=say)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return python_of(folder)


def make_empty(folder: Path, *, say: Say) -> None:
    """Make `folder` afresh with nothing in it that `install` does not put there.

    Raises:
        VenvFailed: This Python cannot make one.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if uv := shutil.which("uv"):
        _step([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], say)
    else:
        _make_with_pip(folder)


def install(folder: Path, words: Sequence[str], *, say: Say) -> None:
    """`pip install WORDS` in an environment made by `make`.

    Raises:
        VenvFailed: It failed.
    """
    python = str(python_of(folder))
    if uv := shutil.which("uv"):
        _step([uv, "pip", "install", "--quiet", "--python", python, *words], say)
    else:
        _step([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words], say)


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def _make_with_pip(folder: Path) -> None:
    try:
        venv.create(folder, with_pip=True, symlinks=True)
    except subprocess.CalledProcessError as error:  # Debian leaves ensurepip out of its python3
        raise VenvFailed(
            f"{sys.executable} cannot make a virtual environment with pip. "
            "On Debian and Ubuntu: apt-get install python3-venv; or put uv on PATH"
        ) from error


def _step(argv: list[str], say: Say) -> None:
    try:
        run_step(argv, what="installing", say=say, limit_s=_LIMIT_S)
    except StepFailed as error:
        raise VenvFailed(str(error)) from error
