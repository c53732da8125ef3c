"""Launchers of the real things that tests talk to, as fixtures."""
