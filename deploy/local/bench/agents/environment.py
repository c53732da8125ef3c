"""The environment of livekit-agents: made once, from its own lock, kept with the servers that were built."""

import hashlib
from pathlib import Path

from deploy.local import venvs
from deploy.local.bench.row import CannotMeasure
from deploy.local.livekit_binary import cached_path
from deploy.local.steps import Say

LOCK = Path(__file__).resolve().parents[3] / "locks" / "agents.txt"
VERSION = "1.8.9"


def python_of_agents(*, say: Say) -> Path:
    """The Python to run the worker with. The first time it takes a minute or two.

    Raises:
        CannotMeasure: It cannot be installed here.
    """
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = cached_path().parents[2] / f"livekit-agents-{VERSION}-{digest}"
    done = folder / "done"
    if done.exists():
        return venvs.python_of(folder)
    say(f"installing livekit-agents {VERSION} into {folder}, once")
    try:
        python = venvs.make(folder, LOCK, say=say)
    except venvs.VenvFailed as error:
        raise CannotMeasure(f"livekit-agents is not to be had: {error}") from error
    done.touch()
    return python
