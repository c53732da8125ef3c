"""A server that speaks the Voice Agent API: for demos, tests and load, with no key and no cost.

The protocol is a pure object (`session.py`) fed with messages and time; `server.py` gives it a socket and a clock.
It knows nothing of our own client: `tests/conformance` holds it against the published protocol.
"""

from bridge.simulator.options import Faults, Profile, Resume, SimulatorOptions
from bridge.simulator.records import SessionReport
from bridge.simulator.server import Running, Simulator

__all__ = ["Faults", "Profile", "Resume", "Running", "SessionReport", "Simulator", "SimulatorOptions"]
