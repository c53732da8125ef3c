"""Carries audio between one room and one voice. This is its front door: what the pool may use of it.

`carry` is loaded when first asked for, because it brings LiveKit's native library: the simulator and the commands that
only read settings start without it.
"""

from typing import TYPE_CHECKING

from bridge.errors import BridgeError
from bridge.settings import BridgeSettings
from bridge.spec import Ending, Journal, LinkSpec, Outcome, Permit, SessionSpec, Stop, VoiceSpec

if TYPE_CHECKING:
    from bridge.session import carry

__all__ = [
    "carry",
    "SessionSpec",
    "VoiceSpec",
    "LinkSpec",
    "Outcome",
    "Ending",
    "Permit",
    "Journal",
    "Stop",
    "BridgeSettings",
    "BridgeError",
]


def __getattr__(name: str) -> object:
    if name == "carry":
        from bridge.session import carry

        return carry
    raise AttributeError(name)
