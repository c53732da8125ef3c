"""Tests that make and cut network interfaces of their own run while nobody has a call.

LiveKit's SDK offers every interface of the machine, and a call that came about over one is lost when that one is cut:
seen with three test processes side by side. Between processes, and between checkouts, a file is the lock.
"""

import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

OWN_INTERFACES = "own_interfaces"
CALLS = ("livekit", "browser")
"""Marks of tests in which there are calls."""

LOCK = Path(tempfile.gettempdir()) / f"roompool-tests-interfaces-{os.getuid()}.lock"
GATE = LOCK.with_suffix(".gate")
"""Whoever waits for the lock holds the gate, so that nobody who comes later gets in before."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Around the whole of a test, and before its time runs: waiting for others is none of it."""
    if item.get_closest_marker(OWN_INTERFACES):
        how = fcntl.LOCK_EX
    elif any(item.get_closest_marker(mark) for mark in CALLS):
        how = fcntl.LOCK_SH
    else:
        return (yield)
    with LOCK.open("w") as lock:
        with GATE.open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(lock, how)
        return (yield)
