"""The receiver's settings: which keys it believes, which rooms get an agent, where the pool is."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from pool.base.kinds import AgentIdentity, LiveKitUrl, Patterns, RedisUrl
from pool.base.settings import Settings
from pool.contract import RoomRules
from webhook.signature import Keyring, keyring

RECOMMENDED_SECRET_BYTES = 32
"""As long as the hash it signs with (RFC 7518, 3.2)."""


def _pairs(value: Any) -> Any:
    """Secrets by key from `key:secret,key2:secret2` or `{"key": "secret"}`."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return orjson.loads(value)
        except ValueError:
            raise ValueError("is not JSON") from None
    pairs = [part.strip().partition(":") for part in value.split(",") if part.strip()]
    if not all(key and secret for key, _, secret in pairs):
        raise ValueError("has a part that is not key:secret")
    return {key: secret for key, _, secret in pairs}


def _is_usable(secret: SecretStr) -> SecretStr:
    keyring({"": secret.get_secret_value()})
    return secret


Secret = Annotated[SecretStr, AfterValidator(_is_usable)]


class WebhookSettings(Settings):
    """Read once, at start. `keys` and `rules` are what the receiver is built from."""

    livekit_api_key: str = Field(
        validation_alias="LIVEKIT_API_KEY",
        min_length=1,
        description="the API key that LiveKit's `webhook.api_key` names",
        examples=["devkey"],
    )
    livekit_api_secret: Secret = Field(
        validation_alias="LIVEKIT_API_SECRET",
        description="the secret of that key, 32 bytes or more",
    )
    webhook_keys: Annotated[dict[str, Secret], NoDecode, BeforeValidator(_pairs)] = Field(
        default={},
        validation_alias="ROOMPOOL_WEBHOOK_KEYS",
        description="the further keys to believe while one is being replaced, as a list or a JSON object",
        examples=["newkey:itssecret,oldkey:itssecret"],
    )
    redis_url: RedisUrl = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        validation_alias="REDIS_URL",
        description="the address of the Redis that the workers use",
        examples=["redis://:password@127.0.0.1:6379/0"],
    )
    rooms: Patterns = Field(
        default=("*",),
        validation_alias="ROOMPOOL_ROOMS",
        min_length=1,
        description="shell patterns of the rooms that get an agent, with commas between or as a JSON list",
        examples=["support-*,demo"],
    )
    agent_identity: AgentIdentity = Field(
        default="voice-agent",
        validation_alias="ROOMPOOL_AGENT_IDENTITY",
        description="the identity under which the agent joins, the same as the workers'",
        examples=["voice-agent"],
    )
    livekit_url: LiveKitUrl | None = Field(
        default=None,
        validation_alias="LIVEKIT_URL",
        description="the address at which a browser finds LiveKit, beginning with ws:// or wss://, for the talk page",
        examples=["ws://127.0.0.1:7880"],
    )
    talk_page: bool = Field(
        default=False,
        validation_alias="ROOMPOOL_TALK_PAGE",
        description="1 for a page to talk to the agent on, and tokens for anybody who asks; loopback only",
    )

    talk_page_simulated: bool = Field(
        default=False,
        validation_alias="ROOMPOOL_TALK_PAGE_SIMULATED",
        description="1 for a talk page that says that the voice is a simulator's",
    )

    prepare: Literal["off", "room_started"] = Field(
        default="off",
        validation_alias="ROOMPOOL_PREPARE",
        description="off, which waits for the caller, or room_started, which sends an agent as soon as LiveKit opens a "
        "room, before its caller is in",
        examples=["off"],
    )

    @field_validator("talk_page")
    @classmethod
    def _page_needs_a_server(cls, wanted: bool, others: ValidationInfo) -> bool:
        if wanted and not others.data.get("livekit_url"):
            raise ValueError("needs LIVEKIT_URL to be set")
        return wanted

    def keys(self) -> Keyring:
        """Every key that is believed. LIVEKIT_API_KEY wins where both name one."""
        secrets = {**self.webhook_keys, self.livekit_api_key: self.livekit_api_secret}
        return keyring({key: secret.get_secret_value() for key, secret in secrets.items()})

    def rules(self) -> RoomRules:
        return RoomRules(globs=self.rooms, agent_identity=self.agent_identity)
