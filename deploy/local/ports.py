"""Free ports on loopback, outside the range that the kernel hands out to outgoing connections.

A client that dials a dead server again and again can be given the server's own port as its source, connect to itself
and so keep the server from coming back. Ports below the ephemeral range cannot be hit by that.
"""

import random
import socket
from pathlib import Path

_LOWEST = 15_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL_START = 32_768  # Linux's default; macOS and Windows begin at 49152
_TRIES = 64


class NoFreePort(RuntimeError):
    """Many ports in a row were taken: something is very wrong with this machine."""


def free_port(*, udp: bool = False) -> int:
    """A port of 127.0.0.1 that was free a moment ago. Whoever uses it still has to survive that it is taken."""
    highest = max(_first_ephemeral() - 1, _LOWEST + 1000)
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, highest)
        if _is_free(port, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM):
            return port
    raise NoFreePort(f"{_TRIES} ports between {_LOWEST} and {highest} are all taken")


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_EPHEMERAL_START


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
