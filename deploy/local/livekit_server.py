"""A real livekit-server on loopback, with a secret of its own and our webhook's address, or somebody else's server."""

import http.client
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from deploy.local.livekit_binary import find_or_build
from deploy.local.ports import free_port
from deploy.local.server import LocalServer

# The only ones the receiver acts on; track events would share the room's delivery queue and hold up the joins.
WEBHOOK_EVENTS = (
    "room_started",
    "room_finished",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
)
_PROBE_TIMEOUT_S = 0.2


@dataclass(frozen=True, slots=True)
class LiveKitKeys:
    """What signs tokens and webhooks. Made before the server is, so that its receiver can be started first."""

    api_key: str = field(default_factory=lambda: f"local{secrets.token_hex(4)}")
    # 43 characters: server and PyJWT both warn below 32 bytes
    api_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


@dataclass(frozen=True, slots=True)
class ExternalLiveKit:
    """A server somebody else runs (`LIVEKIT_URL`).

    It sends its webhooks where its owner told it to; without any, the workers find rooms by asking it for its list.
    """

    url: str
    keys: LiveKitKeys

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self | None:
        """The server of `LIVEKIT_URL`, or None when that is not set.

        Raises:
            ValueError: The URL came without LIVEKIT_API_KEY or LIVEKIT_API_SECRET.
        """
        url = env.get("LIVEKIT_URL", "")
        if not url:
            return None
        missing = [name for name in ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET") if not env.get(name)]
        if missing:
            raise ValueError(f"LIVEKIT_URL is set without {' and '.join(missing)}: set them, or unset LIVEKIT_URL")
        return cls(url, LiveKitKeys(env["LIVEKIT_API_KEY"], env["LIVEKIT_API_SECRET"]))

    @property
    def api_key(self) -> str:
        return self.keys.api_key

    @property
    def api_secret(self) -> str:
        return self.keys.api_secret

    @property
    def env(self) -> dict[str, str]:
        return _env_of(self.url, self.keys)

    async def start(self) -> None:
        """Nothing: it runs already."""

    def end(self) -> None:
        """Nothing: it is not ours."""


class LiveKitServer(LocalServer):
    """One livekit-server: signalling over TCP and media over one UDP port, both on one address of this machine.

    Attributes:
        url: `ws://HOST:PORT`, the same after a restart. Rooms do not survive one.
        webhook_urls: Where it posts its events; what is in it at the start of a life holds for that life.
    """

    name: ClassVar[str] = "livekit-server"

    def __init__(
        self,
        run_dir: Path | None = None,
        *,
        keys: LiveKitKeys | None = None,
        webhook_urls: Sequence[str] = (),
        departure_timeout_s: int = 5,  # LiveKit's own 20 makes the end of a room slow to watch
        empty_timeout_s: int = 30,
        binary: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """Prepare a server; `binary` is found, or built once, when none is given."""
        super().__init__(run_dir)
        self.host = host
        self.keys = keys or LiveKitKeys()
        self.webhook_urls = list(webhook_urls)
        self._departure_timeout_s = departure_timeout_s
        self._empty_timeout_s = empty_timeout_s
        self._binary = binary
        self._move()

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    @property
    def api_key(self) -> str:
        return self.keys.api_key

    @property
    def api_secret(self) -> str:
        return self.keys.api_secret

    @property
    def env(self) -> dict[str, str]:
        """The three variables that every program of ours reads."""
        return _env_of(self.url, self.keys)

    def is_ready(self) -> bool:
        conversation = http.client.HTTPConnection(self.host, self.port, timeout=_PROBE_TIMEOUT_S)
        try:
            conversation.request("GET", "/")
            return conversation.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            conversation.close()

    def _move(self) -> None:
        self.port = free_port()
        self._udp_port = free_port(udp=True)

    def _argv(self) -> list[str]:
        if self._binary is None:
            self._binary = find_or_build()
        config = self.run_dir / "livekit.yaml"
        config.touch(mode=0o600)
        config.write_text(json.dumps(self._config(), indent=2))  # JSON is YAML
        return [str(self._binary), "--config", str(config)]

    def _config(self) -> dict[str, Any]:
        """The server's settings. It reads them strictly: an unknown name is an error.

        No `--dev`: that would log everything and, once keys are given, listen on every interface.
        """
        config: dict[str, Any] = {
            "port": self.port,
            "bind_addresses": [self.host],
            "logging": {"level": "info", "json": False},
            "keys": {self.keys.api_key: self.keys.api_secret},
            "rtc": {
                "tcp_port": 0,  # UDP only; its TCP fall-back would listen on every interface
                "udp_port": self._udp_port,
                "use_external_ip": False,
                "node_ip": self.host,  # also stops the server's own look-ups of its address
                "enable_loopback_candidate": True,
                "ips": {"includes": [f"{self.host}/32"]},
                "stun_servers": [f"{self.host}:3478"],  # else clients are told to ask public hosts
            },
            "room": {
                "auto_create": True,
                "empty_timeout": self._empty_timeout_s,
                "departure_timeout": self._departure_timeout_s,
            },
            "turn": {"enabled": False},
            "api": {"enable_psrpc_for_get_list_participants": True},  # lists from the room itself, not from a store
        }
        if self.webhook_urls:
            config["webhook"] = {
                "api_key": self.keys.api_key,
                "urls": self.webhook_urls,
                "filter_params": {"include_events": list(WEBHOOK_EVENTS)},
            }
        return config


def _env_of(url: str, keys: LiveKitKeys) -> dict[str, str]:
    return {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": keys.api_key, "LIVEKIT_API_SECRET": keys.api_secret}
