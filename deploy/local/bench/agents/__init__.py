"""livekit-agents, beside which roompool is measured: an environment of its own, and a bare worker to run in it."""
