"""One foreign server on loopback, under a leash: start, wait until it answers, kill, freeze, thaw, start again, end.

The core is synchronous, since a test run shares one server across event loops; `async with`, `revive` and `restart`
wait without blocking the loop. What differs between servers is in three small methods of the subclass.
"""

import asyncio
import re
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from deploy.local.spawn import Leash, send, tail

_PORT_TRIES = 5  # a port that was free a moment ago is rarely taken; five times in a row is no chance
_PROBE_EVERY_S = 0.01
_PORT_TAKEN = re.compile(r"address already in use|could not create server tcp listening socket", re.IGNORECASE)


class ServerFailed(RuntimeError):
    """A local server did not come up (its own fault or this machine's); the text ends with its last log lines."""


class PortTaken(ServerFailed):
    """It ended because somebody else took its port since we looked."""


class LocalServer(ABC):
    """A server this process started, on 127.0.0.1 alone.

    Attributes:
        run_dir: Its folder: configuration, data and log. Removed at the end when it was not given.
        log: All that it printed, its lives one after the other.
    """

    name: ClassVar[str]
    ready_within_s: ClassVar[float] = 20.0  # on busy cores; usually it takes a tenth of a second

    def __init__(self, run_dir: Path | None = None) -> None:
        self._owns_run_dir = run_dir is None
        self.run_dir = run_dir or Path(tempfile.mkdtemp(prefix=f"roompool-{self.name}-"))
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.log = self.run_dir / f"{self.name}.log"
        self._popen: subprocess.Popen[bytes] | None = None
        self._leash: Leash | None = None
        self._log_start = 0  # where this life's lines begin

    @abstractmethod
    def _argv(self) -> list[str]:
        """Write the configuration it needs into `run_dir` and return the command."""

    @abstractmethod
    def _move(self) -> None:
        """Pick other ports: the ones picked before are taken."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Ask it, for at most a fifth of a second, whether it serves."""

    # -- one life

    @property
    def pid(self) -> int:
        if self._popen is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL), and wait until it is gone."""
        if self._popen is not None:
            send(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
            self._popen = None
        if self._leash is not None:
            self._leash.let_go()
            self._leash = None

    def freeze(self) -> None:
        """Stop it in mid-breath (SIGSTOP): its sockets stay open and nothing answers."""
        send(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        send(self.pid, signal.SIGCONT)

    async def revive(self) -> None:
        """Start it again after `kill`, on the same ports, and wait until it serves.

        Raises:
            ServerFailed: It did not come back; its ports may have been taken meanwhile.
        """
        self._spawn()
        for pause_s in self._becoming_ready():
            await asyncio.sleep(pause_s)

    async def restart(self) -> None:
        """Kill it and start it again at once."""
        self.kill()
        await self.revive()

    # -- the whole of it

    def __enter__(self) -> Self:
        try:
            for pause_s in self._starting():
                time.sleep(pause_s)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    async def start(self) -> None:
        """What `async with` does first, for an owner that ends things in an order of its own: it calls `end`."""
        try:
            for pause_s in self._starting():
                await asyncio.sleep(pause_s)
        except BaseException:
            self.end()
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill it (nothing of it is worth a farewell) and remove its folder if it made that itself."""
        self.kill()
        if self._owns_run_dir:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _starting(self) -> Iterator[float]:
        """Start, with other ports if need be, until it serves; each value is a pause to make (seconds)."""
        for tries_left in reversed(range(_PORT_TRIES)):
            self._spawn()
            try:
                yield from self._becoming_ready()
            except PortTaken:
                if not tries_left:
                    raise
                self.kill()
                self._move()
            else:
                return

    def _becoming_ready(self) -> Iterator[float]:
        deadline = time.monotonic() + self.ready_within_s
        while not self.is_ready():
            if not self.is_running:
                raise self._why_ended()
            if time.monotonic() > deadline:
                text = f"{self.name} did not answer within {self.ready_within_s:.0f} s. Its last lines:\n"
                raise ServerFailed(text + tail(self.log))
            yield _PROBE_EVERY_S
        if not self.is_running:  # somebody else answers on our port
            raise self._why_ended()

    def _why_ended(self) -> ServerFailed:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            said = log.read().decode(errors="replace")
        kind = PortTaken if _PORT_TAKEN.search(said) else ServerFailed
        return kind(f"{self.name} ended before it served anything. Its last lines:\n{tail(self.log)}")

    def _spawn(self) -> None:
        if self._popen is not None:
            raise RuntimeError(f"{self.name} is running already")
        argv = self._argv()
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._leash = Leash.on(argv)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._leash.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.run_dir,
                pass_fds=self._leash.pass_fds,
                start_new_session=True,
            )
        self._leash.handed_over()
