"""How fast and how small roompool is, beside livekit-agents in the same run: `./dev bench`.

`rows/` has a file for each row of the table, `figures.py` what a row answers with, `reach.py` whether that is what we
want to be. Those two are pure; rows start real programs. A benchmark is a command and never a test: times are noisy.
"""
