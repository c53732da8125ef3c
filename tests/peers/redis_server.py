"""Debian's redis-server, alone with TLS or under sentinels. A test that asks for it is skipped where there is none."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from deploy.local.ports import free_port
from deploy.local.sentinel import SentinelSet
from deploy.local.valkey import Valkey


@pytest.fixture(scope="session")
def redis_server() -> Path:
    """The program; the test is skipped, with the cure, where there is none."""
    if found := shutil.which("redis-server"):
        return Path(found)
    pytest.skip("no redis-server on PATH; to run these tests: apt-get install redis-server, or brew install redis")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def standing_sentinels(
    redis_server: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SentinelSet]:
    """The same for the whole run. It is to be used, not to be hurt."""
    async with SentinelSet(tmp_path_factory.mktemp("sentinels")) as servers:
        yield servers


@pytest.fixture
async def sentinels(redis_server: Path, tmp_path: Path) -> AsyncIterator[SentinelSet]:
    """A Redis of the test's own that fails over within some two seconds."""
    async with SentinelSet(tmp_path / "sentinels") as servers:
        yield servers


@dataclass(frozen=True, slots=True)
class Certificates:
    """A throw-away authority, and what it has signed for one server."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path, *, names: str = "IP:127.0.0.1,DNS:localhost") -> Certificates:
    """Make an authority and a server's certificate for `names`, good for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-x509"]
    key, authority = str(folder / "ca.key"), str(made.authority)
    for_authority = ["-keyout", key, "-out", authority, "-subj", "/CN=test authority"]
    for_server = ["-CA", authority, "-CAkey", key, "-keyout", str(made.key), "-out", str(made.certificate)]
    says = ["-subj", "/CN=server", "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=CA:FALSE"]
    for words in (for_authority, [*for_server, *says]):
        subprocess.run(["openssl", "req", *curve, *words], check=True, capture_output=True)
    return made


class SecureRedis(Valkey):
    """A redis-server that takes TLS at `secure_port`, and shows the certificate that it is given."""

    name: ClassVar[str] = "redis-tls"

    def __init__(self, run_dir: Path, *, program: Path, shown: Certificates) -> None:
        super().__init__(run_dir, append_only=False)
        self._program = program
        self._shown = shown
        self.secure_port = free_port()

    @property
    def password(self) -> str:
        return self._password

    def secure_url(self, *, host: str = "127.0.0.1", query: str = "") -> str:
        """Where it is through TLS."""
        return f"rediss://:{self._password}@{host}:{self.secure_port}/0?{query}"

    def _argv(self) -> list[str]:
        _, config = super()._argv()
        lines = [
            f"tls-port {self.secure_port}",
            f'tls-cert-file "{self._shown.certificate}"',
            f'tls-key-file "{self._shown.key}"',
            f'tls-ca-cert-file "{self._shown.authority}"',
            "tls-auth-clients no",
        ]
        with Path(config).open("a") as more:
            more.write("\n".join(lines) + "\n")
        return [str(self._program), config]

    def _move(self) -> None:
        super()._move()
        self.secure_port = free_port()
