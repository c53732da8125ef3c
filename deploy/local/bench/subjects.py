"""Who is measured: roompool and livekit-agents, each with a livekit-server of its own that runs for it alone.

Both say the same recording without any voice service, and neither runs while the other is measured.
"""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bridge.voice.loopback import recording
from deploy.local.bench.agents.environment import VERSION, python_of_agents
from deploy.local.bench.row import Bench, CannotMeasure
from deploy.local.livekit_server import ExternalLiveKit, LiveKitServer
from deploy.local.ports import free_port
from deploy.local.processes import NeverSaid, ProcessEnded, Processes
from deploy.local.stack import Stack, StackOptions

WORKER = Path(__file__).parent / "agents" / "worker.py"
READY_S = 90.0
CALLS = 24
"""The most that one worker is asked to carry."""

AGENTS = f"livekit-agents {VERSION}"
AGENTS_UNLIMITED = f"{AGENTS}, no load limit"
AGENTS_LOAD_LIMIT = 0.7
"""Of its `start`, by its default (1.8.9)."""


@dataclass(frozen=True, slots=True)
class Running:
    """A worker that is up, and the server whose rooms it serves."""

    server: LiveKitServer | ExternalLiveKit
    pid: int
    """Of the process that the others of the worker descend from."""


class Start(Protocol):
    """How one that is measured comes up."""

    def __call__(self, bench: Bench, run_dir: Path, *, is_speaking: bool) -> AbstractAsyncContextManager[Running]:
        """Bring it up in a folder of its own. Its agent speaks without end, or else says one sentence.

        Raises:
            CannotMeasure, StackFailed: It did not come up.
        """


@dataclass(frozen=True, slots=True)
class Subject:
    """One that is measured."""

    name: str
    start: Start


def roompool(name: str, *, carriers: int = 1, prepare: bool = False) -> Subject:
    """A worker of ours."""

    @asynccontextmanager
    async def start(bench: Bench, run_dir: Path, *, is_speaking: bool) -> AsyncIterator[Running]:
        options = StackOptions(
            run_dir=run_dir,
            workers=1,
            processes=carriers,
            capacity=CALLS // carriers,
            binary=bench.binary,
            webhook_env={"ROOMPOOL_PREPARE": "room_started"} if prepare else {},
            worker_env={
                "ROOMPOOL_VOICE_DIALECT": "loopback",
                "ROOMPOOL_VOICE_URL": "loopback:always" if is_speaking else "loopback:once",
            },
            ready_within_s=READY_S,
        )
        async with Stack.start(options) as stack:
            yield Running(stack.livekit, stack.workers[0].pid)

    return Subject(name, start)


def livekit_agents(name: str = AGENTS, *, load_limit: float = AGENTS_LOAD_LIMIT) -> Subject:
    """Theirs: `start`, automatic dispatch, the options as they come; for frames see `agents/worker.py`."""

    @asynccontextmanager
    async def start(bench: Bench, run_dir: Path, *, is_speaking: bool) -> AsyncIterator[Running]:
        asked = {
            "RECORDING": str(_write_recording(run_dir, is_speaking=is_speaking)),
            "HOW_OFTEN": "always" if is_speaking else "once",
            "LOAD_LIMIT": str(load_limit),
        }
        async with _agents_worker(bench, run_dir, asked) as running:
            yield running

    return Subject(name, start)


def without_load_limit() -> Subject:
    """Theirs without a limit, as its `dev` command has it: so many calls as ours on the same machine."""
    return livekit_agents(AGENTS_UNLIMITED, load_limit=math.inf)


@asynccontextmanager
async def _agents_worker(bench: Bench, run_dir: Path, asked: Mapping[str, str]) -> AsyncIterator[Running]:
    python = python_of_agents(say=bench.tell)
    argv = [str(python), str(WORKER), "start"]
    env = {**asked, "HTTP_PORT": str(free_port())}
    with LiveKitServer(run_dir / "livekit", binary=bench.binary) as server:
        async with Processes(run_dir / "logs") as processes:
            worker = await processes.start("livekit-agents", argv, env={**server.env, **env})
            try:
                await worker.wait_line("registered worker", timeout_s=READY_S)
            except (NeverSaid, ProcessEnded) as error:
                raise CannotMeasure(f"livekit-agents did not come up: {error}") from error
            yield Running(server, worker.pid)


def _write_recording(run_dir: Path, *, is_speaking: bool) -> Path:
    """The words that our own voice says, for theirs."""
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "recording.pcm"
    path.write_bytes(recording("long" if is_speaking else "greeting"))
    return path
