"""`./dev`: when it takes the environment for good, and when it makes a new one."""

import json
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`dev` of a checkout, as a module."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would write a `devc` beside the script
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = spec_from_loader("dev_of_a_checkout", SourceFileLoader("dev_of_a_checkout", str(checkout / "dev")))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "dev_of_a_checkout", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an environment that was made for it."""
    folder = tmp_path / "checkout"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    shutil.copytree(ROOT / "deploy" / "locks", folder / "deploy" / "locks")
    for name in ("dev", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    dev = load(folder, monkeypatch)
    dev.STAMP.write_text(json.dumps(dev.sources()))
    return folder


def is_good(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    dev = load(checkout, monkeypatch)
    return bool(dev.made_from() == dev.sources())


def test_an_environment_is_kept_while_nothing_has_changed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later runs have nothing to do."""
    assert is_good(checkout, monkeypatch)


def test_a_moved_checkout_needs_a_new_one(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment has its own path in its scripts."""
    assert not is_good(checkout.rename(checkout.with_name("elsewhere")), monkeypatch)


@pytest.mark.parametrize("changed", ["deploy/locks/dev.txt", "pyproject.toml"])
def test_a_changed_lock_or_project_is_noticed(checkout: Path, changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pull, the next run installs what is new."""
    (checkout / changed).write_text("")
    assert not is_good(checkout, monkeypatch)


def test_an_environment_without_its_python_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python it was made with was uninstalled."""
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert not is_good(checkout, monkeypatch)


def test_it_works_from_any_folder_and_explains_what_it_does_not_know(tmp_path: Path) -> None:
    """An unknown verb is answered with the list of verbs and exit code 2."""
    done = subprocess.run([ROOT / "dev", "tset"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no verb 'tset'" in done.stderr
    assert "test    run the tests" in done.stderr
