"""Kinds of settings that the receiver and the workers share, so that both read one variable alike."""

from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BeforeValidator, SecretStr, StringConstraints
from pydantic_settings import NoDecode

from pool.base.addresses import check_redis_url


def _patterns(value: Any) -> Any:
    """Shell patterns from `a-*,b` or `["a-*", "b"]`. What is no list of texts in JSON is a pattern with a bracket."""
    if not isinstance(value, str):
        return value
    try:
        listed = orjson.loads(value)
    except ValueError:
        listed = None
    if isinstance(listed, list) and all(isinstance(part, str) for part in listed):
        return listed
    return [part.strip() for part in value.split(",") if part.strip()]


def _is_redis(url: SecretStr) -> SecretStr:
    check_redis_url(url.get_secret_value())
    return url


AgentIdentity = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""The identity under which the agent joins every room."""

LiveKitUrl = Annotated[str, StringConstraints(pattern=r"^wss?://.+")]
"""Where LiveKit is, as its clients write it."""

Patterns = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_patterns)]
"""Shell patterns, comma-separated or a JSON list."""

RedisUrl = Annotated[SecretStr, AfterValidator(_is_redis)]
"""Where Redis is. Secret: it usually holds a password."""
