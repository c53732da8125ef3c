"""One run of the demo, from its settings to its end, with nothing left behind.

Settings, servers and programs (`stack`), the three calls (`acts`), the verdict (`report`), the tables (`screen`); then
it ends (`--once`), or stays up with a page to talk to the agent until Ctrl-C.
"""

import asyncio
import json
import os
import secrets
import signal
import string
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from deploy.local.ending import (
    BAD_SETTINGS,
    FAILED,
    INTERRUPTED,
    Interrupted,
    let_go,
    new_run_dir,
    raised,
    remove,
    run_until_signalled,
)
from deploy.local.livekit_binary import NoLiveKitServer, find_or_build
from deploy.local.order import (
    BadSettings,
    Ground,
    Order,
    check_redis,
    external_servers_of,
    make_folder,
    page_env,
    voice_of,
)
from deploy.local.processes import NeverSaid, ProcessEnded
from deploy.local.report import CallMade, Expected, Report, as_json, checks_of, env_file
from deploy.local.screen import Screen
from deploy.local.server import LocalServer
from deploy.local.signs import errors_in
from deploy.local.stack import Stack, StackFailed, StackOptions
from deploy.local.valkey import NoValkey
from pool.base import logs

SIMULATOR_ARGS = ("--endpoint-ms", "600", "--onset-ms", "300", "--barge-in-ms", "400", "--lead-silence-ms", "200")
"""Quicker than the service it stands for, so that nobody waits for a demo: the defaults are what was measured there."""

LOOK_EVERY_S = 1.0
"""How soon a person is told that a server died under the demo."""


class NobodyJoined(RuntimeError):
    """LiveKit let no caller in: there is nothing to report. The text says why and what to do."""


class PartLost(RuntimeError):
    """A server or program ended while the demo stayed up; the text says which."""


def run(order: Order, env: Mapping[str, str] = os.environ) -> int:
    """One demo from start to end; its exit status."""
    screen = Screen(sys.stderr if order.as_json else sys.stdout)
    try:
        servers = external_servers_of(order, env)
        if order.recordings:
            make_folder(order.recordings)
    except BadSettings as error:
        for problem in error.problems:
            screen.error(problem)
        return BAD_SETTINGS
    try:
        with raised(signal.SIGTERM, signal.SIGHUP):
            binary = None
            if servers[1] is None:
                binary = find_or_build(say=lambda text: screen.line(text, "dim"), env=env)
            return run_in_folder(order, screen, Ground(*servers, binary, voice_of(order, env)))
    except Interrupted as error:
        return INTERRUPTED + error.number
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT
    except NoLiveKitServer as error:
        screen.error(str(error))
        return BAD_SETTINGS if env.get("LIVEKIT_SERVER_BIN") else FAILED


def run_in_folder(order: Order, screen: Screen, ground: Ground) -> int:
    """Run a demo in a new folder; its exit status."""
    run_dir = new_run_dir()
    status = INTERRUPTED
    try:
        with (run_dir / "logs" / "demo.log").open("a") as log:  # the callers' words: the screen belongs to the demo
            logs.configure(json=True, variables={}, stream=log)
            demo = Demo(order, screen, run_dir, ground)
            status = run_until_signalled(demo.run, at_once=lambda: remove(run_dir))
    except Exception:  # noqa: BLE001 - the boundary of the whole run: said in full, for it is a bug of the demo's own
        screen.error(f"the demo itself failed\n{traceback.format_exc()}", logs=str(run_dir))
        status = FAILED
    finally:
        let_go(run_dir, status)
    return status


class Demo:
    """One run: `run` brings everything up and has ended it all when it returns."""

    def __init__(self, order: Order, screen: Screen, run_dir: Path, ground: Ground) -> None:
        self._order = order
        self._screen = screen
        self._run_dir = run_dir
        self._redis, self._livekit, self._binary = ground.redis, ground.livekit, ground.livekit_binary
        self._voice = ground.voice
        self._began_at = time.monotonic()
        self._recordings = (order.recordings or run_dir / "recordings").absolute()
        # On servers of others our agents must not walk into rooms that are none of ours.
        # Letters only: logs mask long numbers, and what they say of a room is found by its name.
        mark = "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))
        self._rooms = f"demo-{mark}-" if self._redis or self._livekit else "demo-"

    async def run(self) -> int:
        """The exit status: 0 when every check was passed.

        Ended by cancellation alone when it stays up.
        """
        try:
            if self._redis:
                await check_redis(self._redis)
            self._greet()
            async with Stack.start(self._options()) as stack:
                report = await self._perform(stack)
                self._conclude(stack, report)
                if not self._order.once:
                    await self._stay(stack)
                return report.exit_status
        except BadSettings as error:
            self._screen.error(str(error))
            return BAD_SETTINGS
        except StackFailed as error:
            self._screen.error(str(error))
            return FAILED
        except (NoValkey, ProcessEnded, NeverSaid, NobodyJoined, PartLost) as error:
            self._screen.error(str(error), logs=str(self._run_dir))
            return FAILED

    def _greet(self) -> None:
        screen = self._screen
        screen.head("roompool demo", "Ctrl-C ends it at any moment")
        if self._voice:
            screen.line(
                "--real: AssemblyAI bills every call to your key, those of the script and those from the page.",
                "yellow",
            )
        if self._livekit:
            screen.line(f"LIVEKIT_URL: using {self._livekit.url}. Its webhooks reach us only if it posts them here;")
            screen.line("without them the workers find a caller by asking it for its rooms, which takes up to 5 s.")
        screen.head("Starting", "seconds since the start")

    def _options(self) -> StackOptions:
        rooms = {"ROOMPOOL_ROOMS": f"{self._rooms}*,talk-*"} if self._redis or self._livekit else {}
        return StackOptions(
            workers=2,
            redis=self._redis,
            livekit=self._livekit,
            binary=self._binary,
            voice=self._voice,
            run_dir=self._run_dir,
            simulator_args=SIMULATOR_ARGS,
            webhook_env={**rooms, **page_env(self._order)},
            worker_env={**rooms, "ROOMPOOL_HANDOVER_AFTER_S": "2"},
            on_part=self._screen.part,
        )

    async def _perform(self, stack: Stack) -> Report:
        from deploy.local import acts  # brings the native library, which --help and wrong settings can do without

        self._recordings.mkdir(parents=True, exist_ok=True)
        self._screen.head("Three callers", "seconds since each one dialled; what took how long")
        calls = await acts.perform(
            acts.Stage(
                stack=stack,
                rooms=self._rooms,
                recordings=self._recordings,
                counts_on_turns=self._voice is None,
                tell=self._screen.step,
                fail=self._screen.failed,
            )
        )
        if not any(call.steps for call in calls):
            raise NobodyJoined(f"{calls[0].problem}. Cure: {self._cure_of_joining()}")
        expected = Expected(webhooks=self._livekit is None, turns=self._voice is None)
        checks = checks_of(calls, expected, errors_in(stack.processes.children))
        return Report(parts=stack.parts, calls=calls, checks=checks, took_s=time.monotonic() - self._began_at)

    def _cure_of_joining(self) -> str:
        if self._livekit:
            return "check LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
        return "let UDP pass on 127.0.0.1; a firewall or a VPN may keep it off"

    # -- the end of the script

    def _conclude(self, stack: Stack, report: Report) -> None:
        self._screen.conclude(report, self._what_is_real(stack))
        self._screen.line()
        verdict = ("All is well", "bold green") if report.ok else ("Something failed", "bold red")
        self._screen.line(f"{verdict[0]}, after {report.took_s:.0f} s.", verdict[1])
        if not report.ok:
            self._screen.line(f"everything about it, logs first: {self._run_dir}")
        if self._order.recordings or not self._order.once:
            self._screen.line(f"recordings, caller left and agent right: {self._recordings}")
        source = self._write_env(stack)
        self._try_next(source, report.calls)
        if self._order.as_json:
            stays = not self._order.once
            facts = {
                "voice": "assemblyai" if self._voice else "simulator",
                "logs": str(self._run_dir / "logs") if stays or not report.ok else "",
                "recordings": str(self._recordings) if stays or not report.ok or self._order.recordings else "",
                "env_file": str(source) if stays else "",
                "talk_page": stack.webhook_base_url if stays else "",
            }
            sys.stdout.write(json.dumps(as_json(report, **facts), indent=2) + "\n")
            sys.stdout.flush()

    def _what_is_real(self, stack: Stack) -> list[tuple[str, str, str]]:
        livekit = "yours, by LIVEKIT_URL" if self._livekit else "livekit-server, WebRTC over UDP on this machine"
        webhooks = "if your LiveKit posts them here" if self._livekit else "signed by LiveKit, verified by the receiver"
        redis = "yours, by REDIS_URL" if self._redis else "Valkey, started for this run"
        return [
            ("rooms, audio", "real", livekit),
            ("webhooks", "real", webhooks),
            ("Redis", "real", redis),
            ("programs", "real", f"a receiver and {len(stack.workers)} workers, each a process of its own"),
            ("callers", "scripted", "real participants who play recordings and measure what they hear"),
            *(
                [("voice", "real", self._voice.url or "AssemblyAI's Voice Agent API")]
                if self._voice
                else [
                    ("voice", "simulated", "speaks AssemblyAI's API, greets, and plays back what it heard"),
                    ("its timing", "simulated", "quicker than AssemblyAI's: 0.6 s of silence end a turn"),
                ]
            ),
            ("network", "none", "all on this machine; a real one adds its own delays")
            if not self._livekit
            else ("network", "real", "as far as your LiveKit is away"),
        ]

    def _write_env(self, stack: Stack) -> Path:
        """The file to source; only the owner can read it, and the vendor's key stays out."""
        variables = dict(stack.env)
        if self._voice:
            del variables["ASSEMBLYAI_API_KEY"]
        path = self._run_dir / "demo.env"
        path.touch(mode=0o600)
        path.write_text(env_file(variables, programs=str(Path(sys.executable).parent)))
        return path

    def _try_next(self, source: Path, calls: Sequence[CallMade]) -> None:
        self._screen.head("Try next")
        if self._order.once:
            rows = [
                ("./dev demo", "the same, and it stays up: talk to the agent yourself in a browser"),
                ("./dev demo --once --record .", "keep recordings of the three calls"),
                ("./dev test", "the whole test suite"),
            ]
        else:
            room = next((call.room for call in calls if call.caller == "cleo"), "ROOM")
            self._screen.line(f"  source {source}")
            rows = [
                ("roompool call my-room --barge-in", "call the agent once more, interrupt it, and read the times"),
                ("roompool ps", "which worker holds which room"),
                (f"roompool why {room}", "why it has the agent it has: the take-over, step by step"),
            ]
            if self._rooms != "demo-":
                rows[0] = (f"roompool call {self._rooms}me --barge-in", rows[0][1])
        for command, what in rows:
            self._screen.line(f"  {command:<34}  {what}")

    # -- staying up

    async def _stay(self, stack: Stack) -> NoReturn:
        """Until Ctrl-C: the page is there, a worker that dies is replaced.

        Raises:
            PartLost: Another part ended by itself.
        """
        replaced: set[str] = set()
        await self._replace(stack, replaced)
        self._screen.line()
        self._screen.line(f"Talk to the agent yourself: {stack.webhook_base_url}", "bold")
        self._screen.line("Ctrl-C ends everything.", "dim")
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._replace(stack, replaced)
            if lost := lost_part(stack):
                raise PartLost(f"{lost} ended by itself. Cure: its log says why; start the demo again")

    async def _replace(self, stack: Stack, replaced: set[str]) -> None:
        """Start another worker for each that ended since."""
        ended = [worker for worker in stack.workers if worker.exit_code is not None and worker.name not in replaced]
        for worker in ended:
            replaced.add(worker.name)
            self._screen.line(f"{worker.name} has ended ({worker.exit_code}); starting one in its place", "dim")
            await stack.add_worker()


def lost_part(stack: Stack) -> str:
    """The name of a part that is not there any more, workers left out; empty when all are."""
    for server in (stack.redis, stack.livekit):
        if isinstance(server, LocalServer) and not server.is_running:
            return server.name
    for child in (stack.webhook, stack.simulator):
        if child is not None and child.exit_code is not None:
            return child.name
    return ""
