"""The variables a process sees. Apart from `settings.py`, so that reading one of them does not load pydantic."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

DOTENV = Path(".env")
"""Read from the directory the process was started in; what the environment says wins over it."""


def environment(dotenv: Path = DOTENV) -> Mapping[str, str]:
    """The variables of `.env`, and over them those the process was started with."""
    written = {name: value for name, value in dotenv_values(dotenv).items() if value is not None}
    return {**written, **os.environ}
