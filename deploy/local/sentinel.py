"""A Redis that fails over: a primary, a replica, and three sentinels who watch them, all on loopback.

Debian's `redis-server` plays every part where it is on PATH, else whichever server `valkey.py` finds. What a test does
to it: kill or freeze the primary, keep writes from the replica, wait for the failover.
"""

import asyncio
import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from redis import Redis
from redis.exceptions import RedisError

from deploy.local.valkey import Valkey, find_binary

SERVICE = "roompool"
SENTINELS = 3
QUORUM = 2
_POLL_S = 0.02


class NoFailover(RuntimeError):
    """The sentinels did not come to an end within the limit."""


def find_redis_server() -> Path:
    """Debian's redis-server, else another. Raises NoValkey when there is none."""
    found = shutil.which("redis-server")
    return Path(found) if found else find_binary()


class RedisNode(Valkey):
    """A server that may be a replica, and knows the password of its peers.

    Attributes:
        primary: Whom it follows when it is started the next time; None, nobody.
    """

    name: ClassVar[str] = "redis"

    def __init__(self, run_dir: Path, *, password: str, primary: "RedisNode | None" = None) -> None:
        super().__init__(run_dir)
        self._password = password
        self.primary = primary

    def _argv(self) -> list[str]:
        _, config = super()._argv()
        lines = [f"masterauth {self._password}", "repl-diskless-sync-delay 0", "repl-ping-replica-period 1"]
        if self.primary is not None:
            lines.append(f"replicaof 127.0.0.1 {self.primary.port}")
        with Path(config).open("a") as more:
            more.write("\n".join(lines) + "\n")
        return [str(find_redis_server()), config]

    def ask(self, *words: str) -> Any:
        """One command, answered as redis-py does.

        Raises:
            RedisError: It did not answer within half a second, or with an error.
        """
        return _ask(self.port, self._password, *words)

    @property
    def is_in_step(self) -> bool:
        """Whether it is a primary whose replica has everything."""
        try:
            return int(self.ask("WAIT", "1", "100")) == 1
        except RedisError:
            return False


class SentinelNode(Valkey):
    """One sentinel. Its own password is not the servers'."""

    name: ClassVar[str] = "sentinel"

    def __init__(
        self, run_dir: Path, *, password: str, watched: RedisNode, watched_password: str, down_after_ms: int
    ) -> None:
        super().__init__(run_dir)
        self._password = password
        self._watched = watched
        self._watched_password = watched_password
        self._down_after_ms = down_after_ms

    def _argv(self) -> list[str]:
        config = self.run_dir / "sentinel.conf"
        if not config.exists():  # it writes down there what it has learned
            config.touch(mode=0o600)
            config.write_text("\n".join(self._lines()) + "\n")
        return [str(find_redis_server()), str(config), "--sentinel"]

    def _lines(self) -> list[str]:
        return [
            "bind 127.0.0.1",
            f"port {self.port}",
            f'dir "{self.run_dir}"',
            "daemonize no",
            f"requirepass {self._password}",
            f"sentinel sentinel-pass {self._password}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._watched.port} {QUORUM}",
            f"sentinel auth-pass {SERVICE} {self._watched_password}",
            f"sentinel down-after-milliseconds {SERVICE} {self._down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]

    def _move(self) -> None:
        super()._move()
        (self.run_dir / "sentinel.conf").unlink(missing_ok=True)

    def ask(self, *words: str) -> Any:
        """As `RedisNode.ask`."""
        return _ask(self.port, self._password, *words)

    @property
    def knows_everybody(self) -> bool:
        """Whether it has met its peers and the replica, so that a failover can be agreed on."""
        try:
            return (
                len(self.ask("SENTINEL", "SENTINELS", SERVICE)) == SENTINELS - 1
                and len(self.ask("SENTINEL", "REPLICAS", SERVICE)) == 1
                and str(self.ask("SENTINEL", "CKQUORUM", SERVICE)).startswith("OK")
            )
        except RedisError:
            return False

    @property
    def master_port(self) -> int | None:
        """Where it says that the primary is; None when it does not answer."""
        try:
            return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        except RedisError:
            return None


class SentinelSet:
    """One primary with one replica, and three sentinels. Use it as `async with SentinelSet() as redis`.

    Attributes:
        url: What REDIS_URL should say. It stays the same through every failover.
        nodes: Both servers, the one that was the primary at first in front.
    """

    def __init__(self, run_dir: Path | None = None, *, down_after_ms: int = 1000) -> None:
        """Prepare it; `down_after_ms` is how long a primary may be silent before the sentinels replace it."""
        self._owns_run_dir = run_dir is None
        self.run_dir = run_dir or Path(tempfile.mkdtemp(prefix="roompool-sentinels-"))
        self._password, self._sentinel_password = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        first = RedisNode(self.run_dir / "redis-1", password=self._password)
        self.nodes = (first, RedisNode(self.run_dir / "redis-2", password=self._password, primary=first))
        self.sentinels = tuple(
            SentinelNode(
                self.run_dir / f"sentinel-{number}",
                password=self._sentinel_password,
                watched=first,
                watched_password=self._password,
                down_after_ms=down_after_ms,
            )
            for number in range(1, SENTINELS + 1)
        )

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        query = f"sentinel_password={self._sentinel_password}"
        return f"redis+sentinel://:{self._password}@{hosts}/{SERVICE}/0?{query}"

    @property
    def master_port(self) -> int:
        """Where the primary is, by what the sentinels say.

        Raises:
            RuntimeError: None of them answers.
        """
        for sentinel in self.sentinels:
            if (port := sentinel.master_port) is not None:
                return port
        raise RuntimeError("no sentinel answers")

    @property
    def master(self) -> RedisNode:
        """The primary, by what the sentinels say."""
        port = self.master_port
        return next(node for node in self.nodes if node.port == port)

    @property
    def replica(self) -> RedisNode:
        """The other one."""
        master = self.master
        return next(node for node in self.nodes if node is not master)

    # -- what to do to it

    def kill_master(self) -> RedisNode:
        """Kill the primary (SIGKILL) and return it, for `revive`. `failed_over` waits for the next one."""
        master = self.master
        master.kill()
        return master

    def freeze_master(self) -> RedisNode:
        """Stop the primary in mid-breath and return it, for `thaw`: it wakes up deposed, and does not know."""
        master = self.master
        master.freeze()
        return master

    def pause_replication(self) -> None:
        """From now on no write reaches the replica, which stays up and may be made the primary.

        It forgets the password and its connection is cut. (Frozen instead, it would read what its socket still holds
        when it wakes up.) The sentinels take a replica that was cut off for ten times `down_after_ms` for too old.
        """
        self.replica.ask("CONFIG", "SET", "masterauth", "not-the-password")
        self.master.ask("CLIENT", "KILL", "TYPE", "replica")

    def resume_replication(self) -> None:
        """Whoever is a replica may follow again."""
        for node in self.nodes:
            with contextlib.suppress(RedisError):  # dead or frozen
                node.ask("CONFIG", "SET", "masterauth", self._password)

    async def failed_over(self, *, from_port: int, within_s: float = 20.0) -> int:
        """Wait until all sentinels name another primary than the one at `from_port`, and it takes writes; its port.

        Raises:
            NoFailover: Not within the limit.
        """
        others = tuple(node for node in self.nodes if node.port != from_port)
        await _until(
            lambda: (
                all(sentinel.master_port not in (None, from_port) for sentinel in self.sentinels)
                and any(_is_master(node) for node in others)
            ),
            within_s=within_s,
        )
        return self.master_port

    async def mend(self) -> None:
        """Undo everything above, for the next trial: thaw and revive, the dead as replicas of whoever is primary now.

        Raises:
            NoFailover: The primary is dead, and is not replaced in time; or the replica does not follow.
        """
        for server in (*self.sentinels, *self.nodes):
            if server.is_running:
                server.thaw()
            elif isinstance(server, SentinelNode):
                await server.revive()
        if not (master := self.master).is_running:
            await self.failed_over(from_port=master.port)
        master = self.master
        for node in self.nodes:
            if node is not master and not node.is_running:
                node.primary = master
                await node.revive()
        self.resume_replication()
        await self.in_step()

    async def in_step(self, *, within_s: float = 20.0) -> None:
        """Wait until the replica has everything that the primary has. Raises NoFailover after the limit."""
        await _until(lambda: self.master.is_in_step, within_s=within_s)

    # -- the whole of it

    async def start(self) -> None:
        """Start all five and wait until a failover would work."""
        try:
            for server in (*self.nodes, *self.sentinels):
                await server.start()
            await self.in_step()
            await _until(lambda: all(sentinel.knows_everybody for sentinel in self.sentinels), within_s=20.0)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Kill all five, and remove their folder unless it was given."""
        for server in (*self.sentinels, *self.nodes):
            server.end()
        if self._owns_run_dir:
            shutil.rmtree(self.run_dir, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.end()


def _ask(port: int, password: str, *words: str) -> Any:
    with Redis(
        "127.0.0.1", port, password=password, decode_responses=True, socket_timeout=0.5, socket_connect_timeout=0.5
    ) as client:
        # As it came: redis-py would turn the answers to SENTINEL into other shapes from release to release.
        client.response_callbacks.clear()
        return client.execute_command(*words)


def _is_master(node: RedisNode) -> bool:
    try:
        return bool(node.ask("ROLE")[0] == "master")
    except RedisError:
        return False


async def _until(holds: Callable[[], bool], *, within_s: float) -> None:
    until = time.monotonic() + within_s
    while not await asyncio.to_thread(holds):
        if time.monotonic() > until:
            raise NoFailover(f"the sentinels did not agree within {within_s:.0f} s")
        await asyncio.sleep(_POLL_S)
