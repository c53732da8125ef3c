"""Reading settings from the environment and from `.env`, and saying everything that is wrong with them at once.

A settings class is a frozen `Settings` whose fields carry the variable's name as alias and, as description, the
words that follow "Cure: set it to". What a variable was set to is never repeated: it may be a secret.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from pool.base.environment import DOTENV, environment
from pool.base.errors import SettingsInvalid

log = structlog.get_logger()

PREFIX = "ROOMPOOL_"
"""Variables that begin so are ours, so a strange one among them is more likely a slip of the pen."""

NEAR_MISS = 0.9
"""How alike two names must be before we ask. Lower, and the settings of another process would be called slips."""


class Settings(BaseSettings):
    """Base of every settings class: frozen, and deaf to variables that belong to others.

    `populate_by_name` lets a command line option or a test give a field by its Python name.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_file_encoding="utf-8", env_ignore_empty=True
    )


SomeSettings = TypeVar("SomeSettings", bound=BaseSettings)


def load(cls: type[SomeSettings], *, dotenv: Path = DOTENV, **given: Any) -> SomeSettings:
    """Read the settings of one class, once, at start.

    Args:
        cls: A frozen settings class.
        dotenv: A file of variables; it need not exist.
        given: Fields by their Python name, which win over the environment: the options of a command line.

    Raises:
        SettingsInvalid: with one line for each variable that is missing or wrong, all of them at once.

    A variable that looks like a misspelling of one that the class knows is warned of and otherwise ignored.
    """
    for unknown, known in near_misses(cls, environment(dotenv)).items():
        log.warning("setting_unknown", variable=unknown, did_you_mean=known)
    try:
        return cls(_env_file=dotenv, **given)
    except ValidationError as error:
        raise SettingsInvalid(problems_of(cls, error)) from None  # the cause repeats what was set
    except SettingsError as error:
        raise SettingsInvalid([f"{error}. Cure: write it as JSON."]) from None


def problems_of(cls: type[BaseSettings], error: ValidationError) -> list[str]:
    """One line for each fault: the variable, what is wrong with it, and the cure."""
    lines = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        problem = "is not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
        name, field = _field_at(cls, fault["loc"])
        lines.append(f"{name}: {problem}." if name else f"{problem}.")
        if field is not None and field.description:
            lines[-1] += f" Cure: set it to {field.description.rstrip('.')}{_example(field)}."
    return lines


def near_misses(cls: type[BaseSettings], variables: Mapping[str, str]) -> dict[str, str]:
    """Names of ours that the class does not know, each with the known one it was probably meant to be."""
    known = [_variable(cls, name, field) for name, field in cls.model_fields.items()]
    strange = [name for name in variables if name.startswith(PREFIX) and name not in known]
    near = {name: difflib.get_close_matches(name, known, n=1, cutoff=NEAR_MISS) for name in strange}
    return {name: matches[0] for name, matches in near.items() if matches}


def _field_at(cls: type[BaseSettings], where: tuple[int | str, ...]) -> tuple[str, FieldInfo | None]:
    """The variable and field that pydantic complains of; it names a field by its alias or by itself."""
    if not where:
        return "", None
    for name, field in cls.model_fields.items():
        variable = _variable(cls, name, field)
        if where[0] in (name, variable, field.alias):
            return variable, field
    return str(where[0]), None


def _variable(cls: type[BaseSettings], name: str, field: FieldInfo) -> str:
    """The environment variable of a field."""
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else f"{cls.model_config.get('env_prefix', '')}{name}".upper()


def _example(field: FieldInfo) -> str:
    return f", for example {field.examples[0]}" if field.examples else ""
