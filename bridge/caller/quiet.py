"""Keeps the SDK's own log lines off the terminal of whoever makes a call.

The core warns of its insides in calls that go well, and its account of a refusal repeats the token that was refused.
"""

import logging

import structlog

log = structlog.get_logger()


class Lowered(logging.Handler):
    """Says what it is handed at level debug, whatever level it came with."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line of ours for one of the SDK's."""
        log.debug("livekit_sdk", sdk_level=record.levelname.lower(), said=record.getMessage())


def lower_sdk_lines() -> None:
    """From now on the SDK speaks at level debug; for the life of the process."""
    sdk = logging.getLogger("livekit")
    sdk.handlers[:] = [Lowered()]
    sdk.propagate = False
