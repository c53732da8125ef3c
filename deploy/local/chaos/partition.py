"""A network of its own for one program, which can be cut off from an address of this machine: silently, both ways.

The program runs in a network namespace. Between it and this machine lies a second one, the router, and a cut is two
rules there that swallow packets: nobody is told, as when a cable breaks far away. Everything stays on this machine;
addresses are of 10.213.0.0/16. Needs Linux, iproute2 and the right to make namespaces.
"""

import contextlib
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.local.chaos.fault import CannotInject

STEP_LIMIT_S = 10.0
_OWNER_MARK = "rpchaos"


@dataclass(frozen=True, slots=True)
class IsolatedNetwork:
    """A program's own network.

    Attributes:
        host: The address of this machine that the program sees; servers that it must reach listen there.
        far: A second such address, for what is not to be cut off together with the first.
        words: What a command begins with to run in that network.
    """

    host: str
    far: str
    words: tuple[str, ...]
    _router: str

    def cut(self, address: str) -> None:
        """From now on nothing passes between the network and this address. Twice is once."""
        self.heal(address)
        for number, way in enumerate(("to", "from")):
            _ip("-n", self._router, "rule", "add", "blackhole", way, address, "pref", self._pref(address, number))

    def heal(self, address: str) -> None:
        """Everything passes again."""
        for number in (0, 1):
            with contextlib.suppress(CannotInject):
                _ip("-n", self._router, "rule", "del", "pref", self._pref(address, number))

    def _pref(self, address: str, number: int) -> str:
        return str((10 if address == self.host else 20) + number)


@contextlib.contextmanager
def isolated_network() -> Iterator[IsolatedNetwork]:
    """Make one, and remove all of it in the end.

    Raises:
        CannotInject: This machine does not allow it.
    """
    if shutil.which("ip") is None:
        raise CannotInject("no `ip` on PATH: apt-get install iproute2 (Linux only)")
    sweep_left_behind()
    name = f"{_OWNER_MARK}-{os.getpid()}-{secrets.token_hex(2)}"
    net = f"10.213.{secrets.randbelow(200)}"
    made = IsolatedNetwork(f"{net}.1", f"{net}.2", ("ip", "netns", "exec", name), f"{name}-r")
    tag = secrets.token_hex(3)
    with contextlib.ExitStack() as undo:
        for space in (name, made._router):
            _ip("netns", "add", space)
            undo.callback(_quietly, "netns", "del", space)
        for address in (made.host, made.far):
            _ip("addr", "add", f"{address}/32", "dev", "lo", "label", f"lo:rp{os.getpid()}")
            undo.callback(_quietly, "addr", "del", f"{address}/32", "dev", "lo")
        near, far = f"rp{tag}a", f"rp{tag}b"
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", made._router)
        undo.callback(_quietly, "link", "del", near)
        _ip("addr", "add", f"{net}.5/30", "dev", near)
        _ip("link", "set", near, "up")
        inner, outer = f"rp{tag}c", f"rp{tag}d"
        _ip("-n", name, "link", "add", inner, "type", "veth", "peer", "name", outer, "netns", made._router)
        _ip("-n", made._router, "addr", "add", f"{net}.6/30", "dev", far)
        _ip("-n", made._router, "addr", "add", f"{net}.9/30", "dev", outer)
        _ip("-n", name, "addr", "add", f"{net}.10/30", "dev", inner)
        for space, device in ((made._router, far), (made._router, outer), (name, inner), (name, "lo")):
            _ip("-n", space, "link", "set", device, "up")
        _ip("route", "add", f"{net}.8/30", "via", f"{net}.6")
        _ip("-n", made._router, "route", "add", "default", "via", f"{net}.5")
        _ip("-n", name, "route", "add", "default", "via", f"{net}.9")
        _run("ip", "netns", "exec", made._router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        yield made


def sweep_left_behind() -> None:
    """Remove what runs that were killed left: nobody else could. With a namespace go its links and their routes."""
    for line in _run("ip", "netns", "list").splitlines():
        if (name := re.match(rf"{_OWNER_MARK}-(\d+)-\S+", line)) and not os.path.exists(f"/proc/{name[1]}"):
            _quietly("netns", "del", name[0])
    for line in _run("ip", "-o", "-4", "addr", "show", "dev", "lo").splitlines():
        if (found := re.search(r"inet (\S+) .*lo:rp(\d+)", line)) and not os.path.exists(f"/proc/{found[2]}"):
            _quietly("addr", "del", found[1], "dev", "lo")


def _ip(*words: str) -> None:
    _run("ip", *words)


def _quietly(*words: str) -> None:
    with contextlib.suppress(CannotInject):
        _ip(*words)


def _run(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=STEP_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInject(f"`{' '.join(argv)}` could not run ({type(error).__name__})") from error
    if done.returncode != 0:
        raise CannotInject(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout
