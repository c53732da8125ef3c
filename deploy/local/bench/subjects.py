"""Who is measured: roompool and livekit-agents, each with a livekit-server of its own that runs for it alone.

Both say the same recording without any voice service, and neither runs while the other is measured.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Running:
    """A worker that is up, and the server whose rooms it serves."""

    server: LiveKitServer | ExternalLiveKit
    pid: int
    """Of the process that the others of the worker descend from."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One that is measured."""

    name: str
    start: Callable[[Bench, Path, bool], AbstractAsyncContextManager[Running]]
    """Bring it up, in a folder of its own; True: its agent speaks without end, else it says one sentence.

    Raises CannotMeasure or StackFailed.
    """


def roompool(name: str, *, carriers: int = 1, prepare: bool = False) -> Subject:
    """A worker of ours."""

    @asynccontextmanager
    async def start(bench: Bench, run_dir: Path, is_speaking: bool) -> AsyncIterator[Running]:
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


def livekit_agents() -> Subject:
    """Theirs: `start`, automatic dispatch, the options as they come; for frames see `agents/worker.py`."""
    return Subject(AGENTS, _start_agents)


AGENTS = f"livekit-agents {VERSION}"


@asynccontextmanager
async def _start_agents(bench: Bench, run_dir: Path, is_speaking: bool) -> AsyncIterator[Running]:
    python = python_of_agents(say=bench.tell)
    line = _write_recording(run_dir, is_speaking=is_speaking)
    argv = [str(python), str(WORKER), "start"]
    asked = {"RECORDING": str(line), "HOW_OFTEN": "always" if is_speaking else "once", "HTTP_PORT": str(free_port())}
    with LiveKitServer(run_dir / "livekit", binary=bench.binary) as server:
        async with Processes(run_dir / "logs") as processes:
            worker = await processes.start("livekit-agents", argv, env={**server.env, **asked})
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
