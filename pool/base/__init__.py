"""Plumbing that the receiver and the pool share: settings, logs, a served port, connections. It knows no rooms."""
