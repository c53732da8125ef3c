"""The rows of the table, a file each. Their names are here, so that a command line need not load them."""

from importlib import import_module

from deploy.local.bench.row import Row

NAMES = ("join", "burst", "density", "barge_in", "delay", "receiver", "registry", "faults")
"""As the table lists them."""


def load(name: str) -> Row:
    """A row by its name. Brings the native library and whatever else it takes."""
    row: Row = import_module(f"deploy.local.bench.rows.{name}").ROW
    return row
