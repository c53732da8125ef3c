"""The laptop deployment: real servers on loopback, each started once and each ended with its parent.

Reading order: `leash` (a child never outlives its parent), `server` (one server under a leash), `valkey`,
`livekit_binary`, `livekit_server`, `processes` (roompool's own programs), `stack` (all of it together).
The demo on top of it: `demo` (command line), `order` (what was asked for), `show` (one run), `acts` (the calls),
`signs` (what logs say of them), `report` (what it comes to), `screen` (how it looks), `ending` (signals, the rest).
"""
