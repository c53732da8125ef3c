"""roompool's own programs as a user runs them: separate processes, whose log lines can be waited for.

Every process is under a leash, its stderr goes to a file and to a bounded memory of lines, and leaving `Processes`
proves that all of them are gone.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from deploy.local.spawn import Leash, send, tail

KEPT_LINES = 20_000  # per process; the oldest are forgotten here and stay in the file
_MAX_LINE_BYTES = 1 << 20  # a longer line is cut into pieces of this size
_READ_BYTES = 1 << 16
_END_GRACE_S = 3.0
_LAST_WORDS_S = 0.5


class ProcessEnded(RuntimeError):
    """It ended while something was awaited of it; the text has its exit code and its last lines."""


class NeverSaid(TimeoutError):
    """A line that was awaited did not come in time; the text has the last lines that did."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a process's stderr.

    Attributes:
        number: Counted from 0 for each process.
        read_at: When it was read here, by `time.monotonic()`.
        text: As it came, without the line break.
        facts: Its members when it is a JSON object, else empty.
    """

    number: int
    read_at: float
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def event(self) -> str:
        return str(self.facts.get("event", ""))

    def is_event(self, event: str, facts: Mapping[str, Any]) -> bool:
        """True for that event when every fact asked for is there with that value."""
        return self.event == event and all(self.facts.get(name) == value for name, value in facts.items())


class Child:
    """One process of ours. Made by `Processes.start`.

    Attributes:
        log: Everything it wrote to stderr. `out`: to stdout.
        exit_code: None while it runs; minus the signal's number when one ended it.
    """

    def __init__(
        self, name: str, run_dir: Path, process: asyncio.subprocess.Process, leash: Leash, stderr_fd: int
    ) -> None:
        self.name = name
        self.log, self.out = _logs_of(run_dir, name)
        self._process = process
        self._leash = leash
        self._stderr_fd = stderr_fd
        self._lines: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self._read = 0
        self._news = asyncio.Condition()
        self._is_over = False

    # -- what it says

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    @property
    def mark(self) -> int:
        """The number of the next line: hand it to a wait as `since` to leave out what was said before."""
        return self._read

    def lines(self, *, since: int = 0) -> list[LogLine]:
        return [line for line in self._lines if line.number >= since]

    def events(self, event: str, *, since: int = 0, **facts: Any) -> list[LogLine]:
        """Every line so far that is this event with these facts."""
        return [line for line in self.lines(since=since) if line.is_event(event, facts)]

    async def wait_event(self, event: str, *, timeout_s: float = 10.0, since: int = 0, **facts: Any) -> LogLine:
        """The first line that is this event with these facts, said already or still to come.

        Raises:
            NeverSaid: It was not said within `timeout_s`.
            ProcessEnded: The process ended without saying it.
        """
        wanted = " ".join([event, *(f"{name}={value!r}" for name, value in facts.items())])
        return await self._wait(lambda line: line.is_event(event, facts), wanted, timeout_s, since)

    async def wait_line(self, pattern: str | re.Pattern[str], *, timeout_s: float = 10.0, since: int = 0) -> LogLine:
        """The first line that `pattern` is found in; otherwise as `wait_event`."""
        found = re.compile(pattern)
        return await self._wait(lambda line: bool(found.search(line.text)), f"/{found.pattern}/", timeout_s, since)

    async def wait_ended(self, *, timeout_s: float = 10.0) -> int:
        """Its exit code, once it has ended and all its lines are read.

        Raises:
            NeverSaid: It still runs after `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: self._is_over)
        except TimeoutError:
            raise NeverSaid(f"{self.name} still runs after {timeout_s} s. Its last lines:\n{tail(self.log)}") from None
        assert self._process.returncode is not None
        return self._process.returncode

    # -- what is done to it

    def freeze(self) -> None:
        """SIGSTOP: it keeps its sockets and does nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        self._send(signal.SIGTERM)

    def hurry(self) -> None:
        """SIGINT, without waiting: beside `ask_to_end` a second signal, at which a worker waits for no calls."""
        self._send(signal.SIGINT)

    async def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL), and wait until it is gone."""
        self._send(signal.SIGKILL)
        await self.wait_ended()

    async def terminate(self, *, grace_s: float) -> int:
        """SIGTERM; SIGKILL if it still runs after `grace_s`. Returns its exit code."""
        self.ask_to_end()
        try:
            return await self.wait_ended(timeout_s=grace_s)
        except NeverSaid:
            await self.kill()
            return await self.wait_ended()

    def _send(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            send(self.pid, number)

    # -- reading

    async def _wait(self, matches: Callable[[LogLine], bool], wanted: str, timeout_s: float, since: int) -> LogLine:
        looked_at = since
        try:
            async with asyncio.timeout(timeout_s), self._news:
                while True:
                    for line in self.lines(since=looked_at):
                        if matches(line):
                            return line
                    looked_at = max(looked_at, self._read)
                    if self._is_over:
                        raise ProcessEnded(
                            f"{self.name} ended with exit code {self.exit_code} and never said {wanted}. "
                            f"Its last lines:\n{tail(self.log)}"
                        )
                    await self._news.wait()
        except TimeoutError:
            raise NeverSaid(
                f"{self.name} did not say {wanted} within {timeout_s} s. Its last lines:\n{tail(self.log)}"
            ) from None

    async def _follow(self) -> None:
        """Read stderr and wait for the process: the one task that owns both."""
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read_lines(), name=f"read {self.name}")
            await self._process.wait()
            await asyncio.wait([reading], timeout=_LAST_WORDS_S)  # a child of its own may hold stderr open
            reading.cancel()
        self._leash.let_go()
        async with self._news:
            self._is_over = True
            self._news.notify_all()

    async def _read_lines(self) -> None:
        stream = asyncio.StreamReader(limit=_READ_BYTES)
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(self._stderr_fd, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        try:
            await self._read_from(stream)
        finally:
            transport.close()

    async def _read_from(self, stream: asyncio.StreamReader) -> None:
        pending = b""
        with self.log.open("ab", buffering=0) as log:
            while chunk := await stream.read(_READ_BYTES):
                log.write(chunk)
                *whole, pending = (pending + chunk).split(b"\n")
                if len(pending) > _MAX_LINE_BYTES:
                    whole, pending = [*whole, pending], b""
                await self._remember(whole)
        await self._remember([pending] if pending else [])

    async def _remember(self, raw_lines: Sequence[bytes]) -> None:
        now = time.monotonic()
        async with self._news:
            for raw in raw_lines:
                self._lines.append(_parse(self._read, now, raw))
                self._read += 1
            self._news.notify_all()


class Processes:
    """The owner of a set of processes; leaving it ends them, the last one started first, and waits until they are gone.

    Attributes:
        run_dir: Where their logs are: `NAME.log` (stderr) and `NAME.out` (stdout).
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.children: list[Child] = []
        self._followers = asyncio.TaskGroup()

    async def start(self, name: str, argv: Sequence[str], *, env: Mapping[str, str]) -> Child:
        """Start a program. `env` is all it gets, beside PATH, HOME and the like; logs are asked for as JSON."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        leash = Leash.on(list(argv))
        # A pipe of our own: with asyncio's, a process counts as running for as long as any child of its holds stderr.
        reader, writer = os.pipe()
        with _logs_of(self.run_dir, name)[1].open("ab") as stdout, os.fdopen(writer, "wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *leash.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**inherited_env(), **self._own_env, **env},
                cwd=self.run_dir,  # where no `.env` of the user lies
                pass_fds=leash.pass_fds,
                start_new_session=True,
            )
        leash.handed_over()
        child = Child(name, self.run_dir, process, leash, reader)
        self.children.append(child)
        self._followers.create_task(child._follow(), name=f"follow {name}")
        return child

    @property
    def _own_env(self) -> dict[str, str]:
        """What is ours in a program's environment. What it leaves behind when it is killed goes with our folder."""
        return {"ROOMPOOL_LOG_JSON": "1", "PYTHONUNBUFFERED": "1", "TMPDIR": str(self.run_dir)}

    async def end(self, children: Sequence[Child], *, grace_s: float = _END_GRACE_S) -> None:
        """End these at the same time: thaw, SIGTERM, and SIGKILL for those that still run after `grace_s`."""
        for child in children:
            child.thaw()
            child.ask_to_end()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                for child in children:
                    await child.wait_ended(timeout_s=grace_s)
        for child in children:
            await child.kill()

    async def __aenter__(self) -> Self:
        await self._followers.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        try:
            await self.end(self.children[::-1])
        finally:
            for child in self.children:
                child._send(signal.SIGKILL)  # those left over when the line above was cancelled
            await self._followers.__aexit__(None, None, None)  # the body's own exception stays as it is


def inherited_env() -> dict[str, str]:
    """What a program of ours gets of our environment: the machine's part, and no setting of roompool or its peers.

    A REDIS_URL or ROOMPOOL_* of the shell must not reach a process that a test set up otherwise.
    """
    prefixes = ("ROOMPOOL_", "LIVEKIT_", "ASSEMBLYAI_", "REDIS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes) and name != "ROOM_NAME"}


def _logs_of(run_dir: Path, name: str) -> tuple[Path, Path]:
    return run_dir / f"{name}.log", run_dir / f"{name}.out"


def _parse(number: int, read_at: float, raw: bytes) -> LogLine:
    text = raw.decode(errors="replace").rstrip("\r")
    if not text.startswith("{"):
        return LogLine(number, read_at, text)
    try:
        facts = json.loads(text)
    except ValueError:
        return LogLine(number, read_at, text)
    return LogLine(number, read_at, text, facts)
