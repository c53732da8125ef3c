"""Which livekit-server is taken, and how one is built. `go` is a script here that leaves a program where it is told."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.livekit_binary import VERSION, NoLiveKitServer, cached_path, find, find_or_build

GO = """#!/bin/sh
[ "$1" = version ] && echo "go version go1.26.1 any/any" && exit
echo "$@" >> "{calls}"
sleep 0.3
printf '#!/bin/sh\\necho livekit-server version {version}\\n' > "$GOBIN/server"
chmod +x "$GOBIN/server"
"""
BUILD = """
import os
from deploy.local.livekit_binary import find_or_build
print(find_or_build(say=lambda line: None, env=dict(os.environ)))
"""

Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Writes an executable script into `bin`, the only folder on PATH beside the system's."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def server(version: str) -> str:
    return f"#!/bin/sh\necho livekit-server version {version}\n"


def test_the_one_that_was_named_wins(program: Program, env: dict[str, str]) -> None:
    """LIVEKIT_SERVER_BIN before PATH; one that is no livekit-server is refused by the variable's name."""
    program("livekit-server", server(VERSION))
    chosen = program("chosen", server("9.9.9"))
    assert find(say=print, env={**env, "LIVEKIT_SERVER_BIN": str(chosen)}) == chosen
    with pytest.raises(NoLiveKitServer, match="LIVEKIT_SERVER_BIN"):
        find(say=print, env={**env, "LIVEKIT_SERVER_BIN": "/bin/true"})


def test_another_version_on_path_is_taken_with_a_word_about_it(program: Program, env: dict[str, str]) -> None:
    """Whoever has a server on PATH means it; a version we do not test with is named."""
    said: list[str] = []
    on_path = program("livekit-server", server("1.13.9"))
    assert find(say=said.append, env=env) == on_path
    assert said == []
    program("livekit-server", server("1.9.0"))
    assert find(say=said.append, env=env) == on_path
    assert "version 1.9.0" in said[0]


def test_two_runs_at_once_build_it_once(program: Program, env: dict[str, str], tmp_path: Path) -> None:
    """The second waits for the first one's lock and finds the server in the cache; nothing else is left there."""
    calls = tmp_path / "calls"
    program("go", GO.format(calls=calls, version=VERSION))
    outer = {**os.environ, **env, "LIVEKIT_SERVER_BIN": ""}
    runs = [
        subprocess.Popen([sys.executable, "-c", BUILD], env=outer, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = {run.communicate(timeout=30)[0].strip() for run in runs}
    assert answers == {str(cached_path(env))}
    assert calls.read_text().count("install") == 1
    assert sorted(path.name for path in cached_path(env).parent.iterdir()) == ["building.lock", "livekit-server"]


def test_a_build_that_fails_says_why_and_what_else_there_is(
    program: Program, env: dict[str, str], tmp_path: Path
) -> None:
    """Go's own last lines and the cure are in the error, and the cache stays without a server."""
    program("go", GO.format(calls=tmp_path / "calls", version=VERSION).replace("sleep 0.3", "echo no network; exit 1"))
    with pytest.raises(NoLiveKitServer, match=r"(?s)no network.*LIVEKIT_SERVER_BIN"):
        find_or_build(say=print, env=env)
    assert not cached_path(env).exists()


def test_a_build_of_something_else_is_not_kept(program: Program, env: dict[str, str], tmp_path: Path) -> None:
    """What was built must call itself by the version that was asked for."""
    program("go", GO.format(calls=tmp_path / "calls", version="0.0.1"))
    with pytest.raises(NoLiveKitServer, match="does not answer as version"):
        find_or_build(say=print, env=env)
    assert not cached_path(env).exists()
