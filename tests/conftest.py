"""What every test may ask for, and what the run as a whole insists on."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# A busy machine makes the generation of examples slow, and no test of ours is about speed.
settings.register_profile("roompool", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("roompool")

pytest_plugins = [
    "tests.skips",
    "tests.ending",
    "tests.interfaces",
    "tests.last_words",
    "tests.peers.servers",
    "tests.peers.redis_server",
    "tests.peers.stacks",
    "tests.peers.browsers",
]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let Ctrl-C be what it is for the programs that tests start: one process of several (`-n 2`) is deaf to it, as is
    one in the background of a shell, and what it starts would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
