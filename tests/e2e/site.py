"""One running deployment and what a test wants of it: callers, workers of its own, signed deliveries, questions.

Asked from outside alone: LiveKit's API, the receiver's port, the simulator's control port, what is in Redis, and the
lines that the processes log. Nothing of ours is imported that runs inside them.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
from google.protobuf.json_format import MessageToDict
from livekit import api
from livekit.protocol.models import ParticipantInfo
from redis.asyncio import Redis

from bridge.caller.caller import Caller
from bridge.settings import DEFAULT_GREETING, DEFAULT_PROMPT
from bridge.simulator.lines import MARK
from deploy.local.processes import Child, LogLine
from deploy.local.stack import Stack
from pool.journal import Decision, DecisionLog
from pool.registry import Rooms, RoomState, Standing
from pool.registry.connect import lease_redis
from tests.webhook.deliveries import token_of

T = TypeVar("T")

PATIENCE_S = 30.0
"""For what takes a second on an idle machine: these tests prove what happens, not how fast."""

END_S = 20.0
LOOK_EVERY_S = 0.05
A_TOKEN = r"\beyJ[\w-]{10}"
RECONCILE_KEY = "roompool:reconcile"


async def until(answer: Callable[[], Awaitable[T]], what: str, *, limit_s: float = PATIENCE_S) -> T:
    """Ask until the answer is true, and return it.

    Raises:
        AssertionError: It was not within `limit_s`; the text has what was awaited and the last answer.
    """
    deadline = time.monotonic() + limit_s
    while not (last := await answer()):
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:g} s; last answer: {last!r}"
        await asyncio.sleep(LOOK_EVERY_S)
    return last


class Site:
    """A stack with open connections to whatever can be asked about it."""

    def __init__(self, stack: Stack, livekit: api.LiveKitAPI, http: httpx2.AsyncClient) -> None:
        self.stack = stack
        self.livekit = livekit
        self._http = http

    @classmethod
    @asynccontextmanager
    async def on(cls, stack: Stack) -> AsyncIterator[Self]:
        limits = httpx2.Limits(max_connections=200)
        env = stack.livekit.env
        livekit = api.LiveKitAPI(env["LIVEKIT_URL"], env["LIVEKIT_API_KEY"], env["LIVEKIT_API_SECRET"])
        async with livekit, httpx2.AsyncClient(timeout=PATIENCE_S, limits=limits, trust_env=False) as http:
            yield cls(stack, livekit, http)

    # -- who takes part

    def caller(self, room: str, *, identity: str = "") -> Caller:
        server = self.stack.livekit
        return Caller(server.url, room=room, key=server.api_key, secret=server.api_secret, identity=identity)

    @asynccontextmanager
    async def hire(self, count: int = 1, /, **env: str) -> AsyncIterator[list[Child]]:
        """Workers for one test, with these variables.

        After a test that went well those that still run are ended by SIGTERM, and exit 0.
        """
        first = len(self.stack.workers)
        try:
            yield [await self.stack.add_worker(env=env) for _ in range(count)]
            running = [worker for worker in self.stack.workers[first:] if worker.exit_code is None]
            for worker in running:
                worker.ask_to_end()
            codes = {worker.name: await worker.wait_ended(timeout_s=END_S) for worker in running}
            assert set(codes.values()) <= {0}, codes
        finally:
            await self.stack.processes.end(self.stack.workers[first:])

    async def claimed(
        self, room: str, workers: Sequence[Child], *, fence_above: int = 0, limit_s: float = PATIENCE_S
    ) -> tuple[Child, LogLine]:
        """The worker that first claimed the room under a fence above this one, and its line about it."""

        async def look() -> tuple[Child, LogLine] | None:
            found = [(worker, line) for worker in workers for line in worker.events("claimed", room=room)]
            later = (one for one in found if one[1].facts["fence"] > fence_above)
            return min(later, key=lambda one: one[1].facts["fence"], default=None)

        claim = await until(look, f"a claim of {room!r} above fence {fence_above}", limit_s=limit_s)
        assert claim is not None
        return claim

    def claims(self, room: str) -> list[LogLine]:
        """Every claim of the room by any worker so far."""
        return [line for worker in self.stack.workers for line in worker.events("claimed", room=room)]

    # -- LiveKit

    async def room_names(self) -> set[str]:
        return {room.name for room in (await self.livekit.room.list_rooms(api.ListRoomsRequest())).rooms}

    async def participants(self, room: str) -> list[ParticipantInfo]:
        answer = await self.livekit.room.list_participants(api.ListParticipantsRequest(room=room))
        return list(answer.participants)

    async def until_no_agent(self, room: str) -> None:
        """Wait until LiveKit lists no agent in the room (any more)."""

        async def no_agent() -> bool:
            return all(one.kind != ParticipantInfo.Kind.AGENT for one in await self.participants(room))

        await until(no_agent, f"no agent in {room!r}")

    async def joined_message(self, room: str, caller: Caller) -> dict[str, Any]:
        """The `participant_joined` that LiveKit sends about this caller, under an id of its own."""
        listed = (await self.livekit.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms[0]
        one = next(one for one in await self.participants(room) if one.identity == caller.identity)
        return message("participant_joined", MessageToDict(listed), MessageToDict(one))

    # -- the receiver

    async def post(self, said: Mapping[str, Any], *, secret: str = "") -> int:
        """Deliver a webhook, signed with LiveKit's secret or another one; returns the HTTP status."""
        body = json.dumps(said).encode()
        server = self.stack.livekit
        token = token_of(body, now_s=time.time(), secret=secret or server.api_secret, iss=server.api_key)
        headers = {"Authorization": token, "Content-Type": "application/webhook+json"}
        answer = await self._http.post(self.stack.webhook_url, content=body, headers=headers)
        assert answer.content == b"", "an answer tells strangers nothing"
        return answer.status_code

    # -- Redis

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        redis = lease_redis(self.stack.redis.url)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def look(self, room: str) -> RoomState | None:
        async with self.redis() as redis:
            return await Rooms(redis).look(room)

    async def until_standing(self, room: str, standing: Standing) -> RoomState:
        """Wait until the room stands like this."""

        async def look() -> RoomState | None:
            state = await self.look(room)
            return state if state is not None and state.standing is standing else None

        state = await until(look, f"{room!r} is {standing.value}")
        assert state is not None
        return state

    async def story(self, room: str) -> list[Decision]:
        async with self.redis() as redis:
            return await DecisionLog(redis).read(room)

    async def counters(self) -> dict[str, int]:
        async with self.redis() as redis:
            return await Rooms(redis).counters()

    async def reconciled(self, passes: int) -> None:
        """Wait until so many passes have begun from now on. A pass keeps its key for a second at least."""
        async with self.redis() as redis:

            async def is_running(wanted: bool) -> bool:
                return bool(await redis.exists(RECONCILE_KEY)) is wanted

            for number in range(passes):
                await until(lambda: is_running(False), f"the end before pass {number + 1}")
                await until(lambda: is_running(True), f"pass {number + 1}")

    # -- the voice

    async def voice_sessions(self) -> list[dict[str, Any]]:
        """Reports of the simulator's sessions, oldest first."""
        answer = await self._http.get(f"{self.stack.simulator_control_url}/sessions")
        sessions: list[dict[str, Any]] = answer.json()["sessions"]
        return sessions

    async def voice_sessions_of(self, room: str) -> list[dict[str, Any]]:
        """Those that became ready for this room, by its story."""
        ready = [one.facts["voice_session"] for one in await self.story(room) if one.event == "voice_ready"]
        return [one for one in await self.voice_sessions() if one["session_id"] in ready]

    async def until_voice_ended(self, room: str) -> list[dict[str, Any]]:
        """Wait until every voice session of the room was ended by `session.end`; returns their reports."""

        async def look() -> list[dict[str, Any]]:
            reports = await self.voice_sessions_of(room)
            return reports if all(one["ended_by_session_end"] for one in reports) else []

        return await until(look, f"the voice sessions of {room!r} ended by session.end")

    async def control(self, verb: str, **words: object) -> dict[str, Any]:
        """POST to the simulator's control port: faults (replaces all), drop, hang_up, say."""
        answer = await self._http.post(f"{self.stack.simulator_control_url}/{verb}", json=words)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    async def speak_long(self, caller: Caller) -> None:
        """Let the agent greet, then say something of a quarter of a minute, and return when that begins."""
        await caller.agent_heard(PATIENCE_S)
        silent_at = await caller.until_agent_silent(800, PATIENCE_S)
        session = (await self.voice_sessions_of(caller.room_name))[-1]
        assert await self.control("say", line="long", session_id=session["session_id"]) == {"sessions": 1}
        await caller.until_agent_audible(PATIENCE_S, since=silent_at + 0.8)

    @asynccontextmanager
    async def faults(self, **faults: object) -> AsyncIterator[None]:
        """What goes wrong for voice sessions that open inside the block."""
        await self.control("faults", **faults)
        try:
            yield
        finally:
            await self.control("faults")

    # -- commands and ports

    async def ask(self, *words: str, **env: str) -> Any:
        """Run a verb of `roompool` that answers in JSON, and return the answer."""
        child = await self.stack.run(f"ask-{secrets.token_hex(3)}", words, env=env)
        code = await child.wait_ended(timeout_s=PATIENCE_S)
        assert code == 0, child.log.read_text()
        return json.loads(child.out.read_text())

    async def metrics(self, worker: Child) -> dict[str, float]:
        """A worker's series: name with labels, to value."""
        ready = await worker.wait_event("worker_ready")
        text = (await self._http.get(f"{ready.facts['ops_url']}/metrics")).text
        rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    async def readiness(self, worker: Child) -> int:
        """The HTTP status of a worker's readiness probe."""
        ready = await worker.wait_event("worker_ready")
        return (await self._http.get(f"{ready.facts['ops_url']}/readyz")).status_code


def message(event: str, room: Mapping[str, Any], participant: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A webhook's body, as LiveKit fills it."""
    said = {"event": event, "room": dict(room), "id": f"EV_{secrets.token_hex(6)}", "createdAt": str(int(time.time()))}
    return said if participant is None else {**said, "participant": dict(participant)}


def new_room(word: str) -> str:
    """A room's name that no other test has."""
    return f"{word}-{secrets.token_hex(3)}"


def leaks(stack: Stack) -> list[str]:
    """Lines of any process that hold a secret, a token or what was said: file and text."""
    server = stack.livekit
    password = stack.redis.url.partition("://:")[2].partition("@")[0]
    words = [server.api_secret, password, DEFAULT_PROMPT[:40], DEFAULT_GREETING, MARK]
    telltale = re.compile("|".join([A_TOKEN, *(re.escape(word) for word in words if word)]))
    return [f"{log.name}: {line}" for log in logs(stack) for line in lines(log) if telltale.search(line)]


def troubles(stack: Stack, *, since: Mapping[Path, int] | None = None) -> list[str]:
    """Lines at level error or above, tracebacks, and whatever is no JSON line of ours, from these line numbers on."""
    marks = since or {}
    return [
        f"{log.name}: {line}" for log in logs(stack) for line in lines(log)[marks.get(log, 0) :] if not _is_calm(line)
    ]


def marks(stack: Stack) -> dict[Path, int]:
    """How many lines each log has now."""
    return {log: len(lines(log)) for log in logs(stack)}


def logs(stack: Stack) -> list[Path]:
    return sorted((stack.run_dir / "logs").glob("*.log"))


def lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def _is_calm(line: str) -> bool:
    try:
        facts = json.loads(line)
    except ValueError:
        return False
    return facts.get("level") in ("debug", "info", "warning") and "exception" not in facts
