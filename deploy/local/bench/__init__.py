"""How fast and how small roompool is, beside livekit-agents in the same run: `./dev bench`.

`rows/` has a file for each row of the table: it starts real programs, and judges whether what they came to is what we
want to be. `figures.py` has what a row answers with. A benchmark is a command and never a test: times are noisy.
"""
