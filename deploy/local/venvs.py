"""Virtual environments from a hashed lock: with `uv` when it is on PATH, else with `venv` and `pip`.

Standard library only: `./dev` uses it before anything is installed.
"""

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path


class VenvFailed(RuntimeError):
    """An environment could not be made; the text names the command that failed and shows what it said."""


def make(folder: Path, lock: Path, *, say: Callable[[str], None]) -> Path:
    """Make `folder` afresh, install exactly what `lock` names, and return its Python.

    Raises:
        VenvFailed: This Python cannot make one, or an install failed; the folder is removed again.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if uv := shutil.which("uv"):
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        else:
            _make_with_pip(folder)
        install(folder, ["--require-hashes", "-r", str(lock)], say=say)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return python_of(folder)


def install(folder: Path, words: list[str], *, say: Callable[[str], None]) -> None:
    """`pip install WORDS` in an environment made by `make`."""
    if uv := shutil.which("uv"):
        _run([uv, "pip", "install", "--quiet", "--python", str(python_of(folder)), *words])
    else:
        say("  with pip, since uv is not on PATH (uv is faster)")
        _run([str(python_of(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words])


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


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise VenvFailed(f"this failed with exit code {done.returncode}: {' '.join(argv)}\n{done.stdout}")
