"""The one error of the plumbing, apart from `settings.py` so that catching it does not load pydantic.

Exception
 └─ SettingsInvalid   whoever started the process set something wrong, or left it out
"""

from collections.abc import Sequence


class SettingsInvalid(Exception):
    """The process cannot start as it is configured. `problems` holds a line a person can act on for every fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
