"""What holds for the repository as a whole: what it ships, what it promises in words, who loads what."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic_settings import BaseSettings

from bridge.settings import BridgeSettings
from deploy.local import venvs
from pool.settings import PoolSettings
from webhook.settings import WebhookSettings

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("webhook", "pool", "bridge")
LOCKS = sorted((ROOT / "deploy" / "locks").glob("*.txt"))
VERBS = sorted(verb.name for verb in entry_points(group="roompool.commands"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_owns_its_three_packages_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    """Installed alone in a clean environment, webhook, pool and bridge belong to roompool, and no other name does."""
    venvs.make_empty(tmp_path / "venv", say=print)
    venvs.install(tmp_path / "venv", ["--no-deps", str(wheel)], say=print)
    question = (
        "from importlib.metadata import packages_distributions as owners;"
        "print(sorted(name for name, by in owners().items() if by == ['roompool']))"
    )
    assert run(str(venvs.python_of(tmp_path / "venv")), "-I", "-c", question).strip() == str(sorted(PACKAGES))


def test_the_wheel_carries_what_the_code_reads_at_run_time(wheel: Path) -> None:
    """Scripts, pages and recorded speech are in it, as they are in the tree, beside the modules."""
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    in_tree = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert in_tree <= carried
    assert {".lua", ".adpcm", ".html", ".js"} <= {Path(name).suffix for name in carried}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.name))
def test_a_lock_names_no_address_and_hashes_everything(lock: Path) -> None:
    """Where packages come from is the reader's choice; what they are is not."""
    text = lock.read_text()
    assert "://" not in text
    entries = [entry for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert not any(entry.startswith("-") for entry in entries)


def test_the_locks_satisfy_the_ranges_of_pyproject() -> None:
    """A range that was changed without `./dev lock` is found here."""
    pins = {}
    for line in (ROOT / "deploy" / "locks" / "dev.txt").read_text().splitlines():
        if "==" in line:
            name, _, rest = line.partition("==")
            pins[name] = Version(rest.split()[0])
    wanted = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
    ours = [requirement for requirement in wanted if requirement.name != PROJECT["name"]]
    assert [str(r) for r in ours if r.name not in pins or not r.specifier.contains(pins[r.name])] == []


@pytest.mark.parametrize("settings", [WebhookSettings, PoolSettings, BridgeSettings])
def test_the_readme_has_every_setting(settings: type[BaseSettings]) -> None:
    """A setting that is in no table is one that nobody finds."""
    readme = (ROOT / "README.md").read_text()
    assert [name for name in variables(settings) if name not in readme] == []


def test_the_readme_has_every_command() -> None:
    """Each verb of `roompool` and of `./dev` is shown with its whole name."""
    readme = (ROOT / "README.md").read_text()
    of_dev = ("demo", "test", "chaos", "check", "lock")
    commands = [f"roompool {verb}" for verb in VERBS] + [f"./dev {verb}" for verb in of_dev]
    assert [command for command in commands if command not in readme] == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_an_example(verb: str) -> None:
    """`roompool VERB --help` shows one line to copy."""
    assert f"roompool {verb}" in run(sys.executable, "-m", "pool.commands", verb, "--help").partition("Example")[2]


@pytest.mark.parametrize("verb", ["demo", "test", "chaos", "check", "lock"])
def test_the_help_of_dev_has_an_example(verb: str) -> None:
    """The same for `./dev`, which answers without an environment."""
    assert f"./dev {verb}" in run(sys.executable, "-I", "-S", str(ROOT / "dev"), verb, "--help").partition("Example")[2]


def test_dev_runs_before_anything_is_installed() -> None:
    """`dev`, and what it imports of ours, use the standard library alone."""
    waiting = [ROOT / "dev"]
    seen = set()
    while waiting:
        source = waiting.pop()
        for name in imported_by(source):
            if name.startswith("deploy."):
                module = ROOT.joinpath(*name.split(".")).with_suffix(".py")
                waiting += [module] if module.exists() and module not in seen else []
                seen.add(module)
            else:
                assert name.partition(".")[0] in {*sys.stdlib_module_names, "deploy"}, f"{source} imports {name}"


def test_the_receiver_never_loads_the_native_library() -> None:
    """Importing the webhook's application loads nothing of livekit."""
    question = "import sys, webhook.app; print([name for name in sys.modules if name.startswith('livekit')])"
    assert run(sys.executable, "-c", question).strip() == "[]"


def test_the_contract_needs_nothing_installed() -> None:
    """`pool.contract` can be read by any program with a Python: it imports the standard library alone."""
    question = (
        "import sys; before = set(sys.modules); import pool.contract;"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    assert run(sys.executable, "-c", question).strip() == "{'pool'}"


def test_every_folder_of_tests_is_a_package() -> None:
    """Two test files of one name in two folders would otherwise be taken for one."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def variables(settings: type[BaseSettings]) -> list[str]:
    prefix = settings.model_config.get("env_prefix", "")
    aliases = {name: field.validation_alias or field.alias for name, field in settings.model_fields.items()}
    return [alias if isinstance(alias, str) else f"{prefix}{name}".upper() for name, alias in aliases.items()]


def imported_by(source: Path) -> list[str]:
    """Every module that a file names, `from x import y` as `x` and, for ours, also as `x.y`."""
    names = []
    for node in ast.walk(ast.parse(source.read_text())):
        match node:
            case ast.Import(names=aliases):
                names += [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), names=aliases):
                names += [module]
                names += [f"{module}.{alias.name}" for alias in aliases if module.startswith("deploy")]
    return names


def run(*argv: str) -> str:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_program_waits_in_a_way_that_swallows_cancellations() -> None:
    """`asyncio.wait_for` can, before Python 3.12; a task that was told to end would then run on."""
    programs = [path for package in ("webhook", "pool", "bridge") for path in (ROOT / package).rglob("*.py")]
    assert [path.name for path in programs if "asyncio.wait_for(" in path.read_text()] == []
