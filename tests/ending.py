"""How a test run ends once LiveKit's SDK was loaded: at once, with its status.

The interpreter's own shutdown can abort in the SDK's native threads (seen), which would turn a green run into exit 134.
"""

import os
import sys

import pytest

_STATUS = pytest.StashKey[int]()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[_STATUS] = int(session.exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if "livekit.rtc" in sys.modules and _STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_STATUS])
