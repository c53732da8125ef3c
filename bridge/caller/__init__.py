"""A synthetic caller: joins a room as a person would, speaks, listens, and measures what it really heard.

The instrument of the demo, the tests, the benchmarks and the chaos suite; it knows nothing of the agent but what
any client in the room can see and hear. Import `Caller` from `bridge.caller.caller`; this file stays empty so that
the command line can show its help without loading the native library.
"""
