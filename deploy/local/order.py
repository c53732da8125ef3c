"""What the demo is asked for: its options and the servers of others, checked before anything starts."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from deploy.local.livekit_server import ExternalLiveKit
from deploy.local.stack import RealVoice, external_servers
from deploy.local.valkey import ExternalRedis
from pool.registry import Carriers
from pool.registry.connect import lease_redis

FRESH_BEAT_MS = 10_000
"""A worker beats every two seconds; one whose last beat is older than this is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for.

    Attributes:
        recordings: Where the WAVs go; None puts them into the run folder.
    """

    once: bool
    as_json: bool
    real: bool
    recordings: Path | None


@dataclass(frozen=True, slots=True)
class Ground:
    """What the demo runs on: servers of others, or the program for one of its own; and the voice, None: simulated."""

    redis: ExternalRedis | None
    livekit: ExternalLiveKit | None
    livekit_binary: Path | None
    voice: RealVoice | None


class BadSettings(Exception):
    """The demo cannot start as it was asked to. `problems` are lines for a person: variable, fault, cure."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def external_servers_of(order: Order, env: Mapping[str, str]) -> tuple[ExternalRedis | None, ExternalLiveKit | None]:
    """The servers of others to use, checked.

    Raises:
        BadSettings: with every problem there is.
    """
    redis, livekit = None, None
    problems = problems_of(order, env)
    try:
        redis, livekit = external_servers(env)
    except ValueError as error:
        problems.append(f"{error}.")
    if problems:
        raise BadSettings(problems)
    return redis, livekit


def problems_of(order: Order, env: Mapping[str, str]) -> list[str]:
    """What is wrong with the settings, a line each. Pure."""
    problems = []
    if order.real and not env.get("ASSEMBLYAI_API_KEY", "").strip():
        problems.append("ASSEMBLYAI_API_KEY: is not set. Cure: set it to your key, or leave out --real.")
    livekit = env.get("LIVEKIT_URL", "")
    if livekit and not livekit.startswith(("ws://", "wss://")):
        problems.append("LIVEKIT_URL: is no address of LiveKit. Cure: one beginning with ws:// or wss://, or unset it.")
    redis = env.get("REDIS_URL", "")
    if redis and not redis.startswith(("redis://", "rediss://", "unix://")):
        problems.append(
            "REDIS_URL: is no address of Redis. Cure: one beginning with redis:// or rediss://, or unset it."
        )
    return problems


def make_folder(folder: Path) -> None:
    """Make the folder for recordings.

    Raises:
        BadSettings: Nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadSettings(
            [f"--record {folder}: cannot be written to ({error.strerror}). Cure: another folder."]
        ) from None


def voice_of(order: Order, env: Mapping[str, str]) -> RealVoice | None:
    """The real voice when it was asked for. The key is there: `problems_of` has looked."""
    if not order.real:
        return None
    return RealVoice(env["ASSEMBLYAI_API_KEY"].strip(), env.get("ROOMPOOL_VOICE_URL") or None)


def page_env(order: Order) -> dict[str, str]:
    """The receiver's variables for the talk page: none where nobody will look at it, and it must say what it is."""
    if order.once:
        return {}
    return {"ROOMPOOL_TALK_PAGE": "1", "ROOMPOOL_TALK_PAGE_SIMULATED": "0" if order.real else "1"}


async def check_redis(server: ExternalRedis) -> None:
    """A Redis of others must answer, and have no workers yet: they would take our rooms and we theirs.

    Raises:
        BadSettings: It does not, or it has.
    """
    redis = lease_redis(server.url)
    try:
        carriers = await Carriers(redis).list()
    except (RedisError, OSError) as error:
        problem = f"REDIS_URL: does not answer as it should ({type(error).__name__}). Cure: check it, or unset it."
        raise BadSettings([problem]) from None
    finally:
        await redis.aclose()
    if any(seen.beat_age_ms < FRESH_BEAT_MS for seen in carriers):
        problem = "REDIS_URL: workers are at work there, and would share their calls with the demo."
        raise BadSettings([f"{problem} Cure: another database, by the number that ends the address; or unset it."])
