"""All of roompool on this machine: Valkey, livekit-server, voice simulator, webhook receiver and workers.

What depends on nothing starts at the same time; what fails to start says so with its last log lines; leaving the
block ends everything, workers first, so that they can still say good-bye to rooms, voices and Redis.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from deploy.local.livekit_binary import find_or_build
from deploy.local.livekit_server import ExternalLiveKit, LiveKitKeys, LiveKitServer
from deploy.local.processes import Child, NeverSaid, ProcessEnded, Processes
from deploy.local.server import ServerFailed
from deploy.local.valkey import ExternalRedis, Valkey

WEBHOOK_PATH = "/livekit/webhook"
_ROOMPOOL = [sys.executable, "-m", "pool.commands"]


class StackFailed(RuntimeError):
    """A part did not come up; the text says which and why, with its last lines, and where the others are."""


@dataclass(frozen=True, slots=True)
class RealVoice:
    """The vendor's own service instead of the simulator. It costs money."""

    api_key: str = field(repr=False)
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One part that is up: for the lines the demo prints and for its table of what was real."""

    name: str
    detail: str
    is_simulated: bool
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What to bring up.

    Attributes:
        workers: How many worker processes.
        processes: Carriers a worker has.
        capacity: Calls a carrier may hold; None leaves it to roompool's default.
        webhooks: False: livekit-server posts nothing; the receiver runs all the same.
        webhook_route: Told the receiver's URL, answers the one that LiveKit shall post to: of whoever stands between.
        livekit_host: The address of this machine on which livekit-server serves.
        departure_timeout_s: How long an empty room waits for somebody to return.
        webhook_env, worker_env, simulator_env: Further variables for these programs.
        settings: Variables of receiver and workers, where the above do not say otherwise.
        simulator_args: Further options of `roompool simulator`.
        redis: A server that runs already; None starts one.
        livekit: The same.
        binary: The livekit-server to run; None finds one, or builds it, which takes minutes.
        voice: The real service; None starts the simulator.
        run_dir: Where configuration, data and logs go; None takes a temporary folder and removes it.
        ready_within_s: For each part, on a machine that may be busy.
        on_part: Called for each part that is up.
    """

    workers: int = 2
    processes: int = 1
    capacity: int | None = None
    webhooks: bool = True
    webhook_route: Callable[[str], str] = str
    livekit_host: str = "127.0.0.1"
    departure_timeout_s: int = 5
    empty_timeout_s: int = 30
    webhook_env: Mapping[str, str] = field(default_factory=dict)
    worker_env: Mapping[str, str] = field(default_factory=dict)
    simulator_env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    simulator_args: Sequence[str] = ()
    redis: ExternalRedis | None = None
    livekit: ExternalLiveKit | None = None
    binary: Path | None = None
    voice: RealVoice | None = None
    run_dir: Path | None = None
    ready_within_s: float = 60.0
    on_part: Callable[[Part], None] = lambda _part: None


class Stack:
    """Everything that runs, by name.

    Attributes:
        redis, livekit: The servers, ours or somebody else's.
        simulator: None with the real voice.
        webhook: The receiver; `webhook_url` is where LiveKit posts to.
        workers: In the order they were started, dead ones too.
        parts: What is up, in the order it came up.
    """

    def __init__(self, options: StackOptions, run_dir: Path) -> None:
        self.options = options
        self.run_dir = run_dir
        self.processes = Processes(run_dir / "logs")
        self.redis: Valkey | ExternalRedis = options.redis or Valkey(run_dir / "valkey")
        self.livekit: LiveKitServer | ExternalLiveKit = options.livekit or LiveKitServer(
            run_dir / "livekit",
            keys=LiveKitKeys(),
            departure_timeout_s=options.departure_timeout_s,
            empty_timeout_s=options.empty_timeout_s,
            binary=options.binary,
            host=options.livekit_host,
        )
        self.simulator: Child | None = None
        self.workers: list[Child] = []
        self.parts: list[Part] = []
        self._voice_env: dict[str, str] = {}
        self._started_at = time.monotonic()

    @classmethod
    @asynccontextmanager
    async def start(cls, options: StackOptions | None = None) -> AsyncIterator[Self]:
        """Bring everything up, and end it all when the block is left.

        Raises:
            StackFailed: A part did not come up; nothing is left running.
            NoLiveKitServer, NoValkey: A server is not to be had here.
        """
        options = options or StackOptions()
        if options.livekit is None and options.binary is None:
            options = replace(options, binary=await asyncio.to_thread(find_or_build))
        async with AsyncExitStack() as ending:
            run_dir = options.run_dir or Path(
                ending.enter_context(tempfile.TemporaryDirectory(prefix="roompool-", ignore_cleanup_errors=True))
            )
            stack = cls(options, run_dir)
            ending.callback(stack.livekit.end)
            ending.callback(stack.redis.end)
            await ending.enter_async_context(stack.processes)
            ending.push_async_callback(stack._end_workers)
            await stack._bring_up()
            yield stack

    # -- what to talk to

    @property
    def env(self) -> dict[str, str]:
        """The environment of every program of ours: servers, keys, voice."""
        return {**self.livekit.env, "REDIS_URL": self.redis.url, **self._voice_env}

    @property
    def valkey(self) -> Valkey:
        """Redis as one of ours, to be killed, frozen and restarted.

        Raises:
            RuntimeError: It is somebody else's.
        """
        if isinstance(self.redis, ExternalRedis):
            raise RuntimeError("this stack runs on somebody else's Redis")
        return self.redis

    @property
    def livekit_server(self) -> LiveKitServer:
        """livekit-server as one of ours; otherwise as `valkey`."""
        if isinstance(self.livekit, ExternalLiveKit):
            raise RuntimeError("this stack runs on somebody else's LiveKit")
        return self.livekit

    @property
    def webhook_url(self) -> str:
        return self.webhook_base_url + WEBHOOK_PATH

    # -- what to do with it

    async def add_worker(self, *, env: Mapping[str, str] | None = None, within: Sequence[str] = ()) -> Child:
        """Start one more worker and wait until it serves. `within` are words in front of its command."""
        worker = await self._spawn_worker(env or {}, within)
        await self._until_serving(worker)
        return worker

    async def run(self, name: str, words: Sequence[str], *, env: Mapping[str, str] | None = None) -> Child:
        """Start any other verb of `roompool` beside the stack, for example `["call", "demo", "--json"]`."""
        return await self.processes.start(name, [*_ROOMPOOL, *words], env={**self.env, **(env or {})})

    # -- bringing it up

    async def _bring_up(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_redis_and_receiver(), name="start redis and receiver")
                group.create_task(self._start_voice(), name="start voice")
            workers = [await self._spawn_worker({}) for _ in range(self.options.workers)]
            async with asyncio.TaskGroup() as group:
                for worker in workers:
                    group.create_task(self._until_serving(worker), name=f"await {worker.name}")
        except* (ProcessEnded, NeverSaid, ServerFailed) as several:
            raise StackFailed("\n".join([*map(str, several.exceptions), self._cure])) from several

    @property
    def _cure(self) -> str:
        if self.options.run_dir is None:  # the folder goes with us
            return "Cure: mend what these lines say; with a run_dir of your own the whole logs are kept."
        return f"Cure: mend what these lines say; the whole logs are below {self.run_dir}"

    async def _start_redis_and_receiver(self) -> None:
        await self.redis.start()
        self._is_up("redis", "REDIS_URL" if isinstance(self.redis, ExternalRedis) else f"Valkey, {self.redis.port}")
        await self._start_receiver()
        await self._start_livekit()

    async def _start_receiver(self) -> None:
        argv = [*_ROOMPOOL, "webhook", "--host", "127.0.0.1", "--port", "0", "--ops-port", "0"]
        env = {**self.livekit.env, "REDIS_URL": self.redis.url, **self.options.settings, **self.options.webhook_env}
        self.webhook = await self.processes.start("webhook", argv, env=env)
        ready = await self.webhook.wait_event("webhook_ready", timeout_s=self.options.ready_within_s)
        self.webhook_base_url = str(ready.facts["url"]).removesuffix("/").removesuffix(WEBHOOK_PATH)
        self._is_up("webhook", self.webhook_url)

    async def _start_livekit(self) -> None:
        if isinstance(self.livekit, LiveKitServer) and self.options.webhooks:
            self.livekit.webhook_urls = [self.options.webhook_route(self.webhook_url)]
        await self.livekit.start()
        self._is_up("livekit-server", self.livekit.url)

    async def _start_voice(self) -> None:
        if (voice := self.options.voice) is not None:
            self._voice_env = {"ASSEMBLYAI_API_KEY": voice.api_key}
            if voice.url:
                self._voice_env["ROOMPOOL_VOICE_URL"] = voice.url
            self._is_up("voice", voice.url or "AssemblyAI")
            return
        argv = [*_ROOMPOOL, "simulator", "--port", "0", "--control-port", "0", *self.options.simulator_args]
        self.simulator = await self.processes.start("simulator", argv, env=self.options.simulator_env)
        ready = await self.simulator.wait_event("simulator_listening", timeout_s=self.options.ready_within_s)
        self.simulator_control_url = str(ready.facts.get("control") or "")
        self._voice_env = {"ASSEMBLYAI_API_KEY": "simulator", "ROOMPOOL_VOICE_URL": str(ready.facts["url"])}
        self._is_up("voice simulator", str(ready.facts["url"]), is_simulated=True)

    async def _spawn_worker(self, env: Mapping[str, str], within: Sequence[str] = ()) -> Child:
        options = self.options
        capacity = {} if options.capacity is None else {"ROOMPOOL_CAPACITY": str(options.capacity)}
        full_env = {**self.env, **options.settings, **capacity, **options.worker_env, **env}
        name = f"worker-{len(self.workers) + 1}"
        words = ["worker", "--processes", str(options.processes), "--ops-port", "0"]
        worker = await self.processes.start(name, [*within, *_ROOMPOOL, *words], env=full_env)
        self.workers.append(worker)
        return worker

    async def _until_serving(self, worker: Child) -> None:
        ready = await worker.wait_event("worker_ready", timeout_s=self.options.ready_within_s)
        carriers = ", ".join(ready.facts.get("carriers", ["?"]))
        self._is_up(worker.name, f"carrier {carriers}, process {worker.pid}")

    async def _end_workers(self) -> None:
        """Calls end too: nobody is left to take them over, and a voice session costs money."""
        for worker in self.workers:
            worker.hurry()
        await self.processes.end(self.workers)

    def _is_up(self, name: str, detail: str, *, is_simulated: bool = False) -> None:
        part = Part(name, detail, is_simulated, time.monotonic() - self._started_at)
        self.parts.append(part)
        self.options.on_part(part)


def external_servers(env: Mapping[str, str] = os.environ) -> tuple[ExternalRedis | None, ExternalLiveKit | None]:
    """The servers that REDIS_URL and LIVEKIT_URL name.

    Raises:
        ValueError: LIVEKIT_URL came without its keys.
    """
    redis_url = env.get("REDIS_URL", "")
    return (ExternalRedis(redis_url) if redis_url else None), ExternalLiveKit.from_env(env)
