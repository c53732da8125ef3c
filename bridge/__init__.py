"""Carries audio between one room and one voice. This is its front door: what the pool may use of it.

`carry` and the tokens are loaded when first asked for, because they bring LiveKit's libraries: the simulator and the
commands that only read settings start without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bridge.errors import BridgeError
from bridge.recap import MAX_TURN_CHARS, MAX_TURNS
from bridge.settings import BridgeSettings, LiveKitSettings
from bridge.spec import (
    Cue,
    Ending,
    Journal,
    LinkSpec,
    Opening,
    Outcome,
    Permit,
    Said,
    SessionSpec,
    Stop,
    VoiceSpec,
)

if TYPE_CHECKING:
    from bridge.session import carry, warm_up
    from bridge.tokens import agent_token, caller_token

__all__ = [
    "carry",
    "warm_up",
    "agent_token",
    "caller_token",
    "SessionSpec",
    "VoiceSpec",
    "LinkSpec",
    "Outcome",
    "Ending",
    "Opening",
    "Said",
    "MAX_TURNS",
    "MAX_TURN_CHARS",
    "Permit",
    "Journal",
    "Stop",
    "Cue",
    "BridgeSettings",
    "LiveKitSettings",
    "BridgeError",
]


_LATE = {
    "carry": "bridge.session",
    "warm_up": "bridge.session",
    "agent_token": "bridge.tokens",
    "caller_token": "bridge.tokens",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(name)
    return getattr(import_module(_LATE[name]), name)
