"""Carries audio between one room and one voice. This is its front door: what the pool may use of it.

`carry` and `agent_token` are loaded when first asked for, because they bring LiveKit's libraries: the simulator and the
commands that only read settings start without them.
"""

from typing import TYPE_CHECKING

from bridge.errors import BridgeError
from bridge.settings import BridgeSettings
from bridge.spec import Ending, Journal, LinkSpec, Outcome, Permit, SessionSpec, Stop, VoiceSpec

if TYPE_CHECKING:
    from bridge.session import carry
    from bridge.tokens import agent_token

__all__ = [
    "carry",
    "agent_token",
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
    if name == "agent_token":
        from bridge.tokens import agent_token

        return agent_token
    raise AttributeError(name)
