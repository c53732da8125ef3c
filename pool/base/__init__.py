"""Plumbing that the receiver and the pool share: settings, logs, a served port. It knows nothing of rooms."""
