"""Whether a delivery comes from our LiveKit server: its JWT first, then the hash of the body it was signed with.

Two steps, so that the receiver refuses a stranger before it has read a byte of his body. Pure: the time is an
argument. Stricter than LiveKit's own Python receiver, which takes one key only and reports by six exception types.
"""

import base64
import enum
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, TypeGuard

import jwt
import orjson
from jwt.algorithms import HMACAlgorithm

LEEWAY_S = 60
"""How far the two clocks may be apart; LiveKit's own receiver allows the same."""

MAX_TOKEN_BYTES = 4096
"""A genuine one has about 300."""

Keyring = Mapping[str, bytes]
"""Secrets by API key. Two entries while a key is being replaced: LiveKit names the one it signed with as issuer."""


class SignatureFault(enum.Enum):
    """What is wrong with a signature. For our log, never for the sender."""

    MISSING = "missing"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    CLAIMS = "claims"
    UNKNOWN_ISSUER = "unknown_issuer"
    FORGED = "forged"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    BODY_ALTERED = "body_altered"


class BadSignature(Exception):
    """The sender is not, or not provably, our LiveKit server; or a clock is wrong by more than the leeway."""

    def __init__(self, reason: SignatureFault) -> None:
        super().__init__(reason.value)
        self.reason = reason


_JWS = jwt.PyJWS()
_HS256 = HMACAlgorithm(HMACAlgorithm.SHA256)


def keyring(secrets: Mapping[str, str]) -> Keyring:
    """Make a keyring of secrets by API key.

    Raises:
        ValueError: a secret is empty, or looks like an asymmetric key.
    """
    try:
        return {key: _HS256.prepare_key(secret) for key, secret in secrets.items()}
    except jwt.InvalidKeyError as error:
        raise ValueError("is not a secret to sign with") from error


def verify_token(authorization: str | None, keys: Keyring, *, now_s: float) -> str:
    """Check the header `Authorization: <jwt>` (without `Bearer`) and return the hash that the body must have.

    Args:
        now_s: Unix time.

    Raises:
        BadSignature: whatever is wrong; nothing else is ever raised, whatever the header holds.
    """
    if not authorization:
        raise BadSignature(SignatureFault.MISSING)
    if len(authorization) > MAX_TOKEN_BYTES:
        raise BadSignature(SignatureFault.MALFORMED)
    try:
        token = _JWS.decode_complete(authorization, options={"verify_signature": False})
        claims = orjson.loads(token["payload"])
    except (jwt.PyJWTError, ValueError) as error:
        raise BadSignature(SignatureFault.MALFORMED) from error
    if token["header"].get("alg") != "HS256":
        raise BadSignature(SignatureFault.ALGORITHM)
    if not isinstance(claims, dict):
        raise BadSignature(SignatureFault.MALFORMED)
    secret = keys.get(issuer) if isinstance(issuer := claims.get("iss"), str) else None
    if secret is None:
        raise BadSignature(SignatureFault.UNKNOWN_ISSUER)
    if not _HS256.verify(authorization.rpartition(".")[0].encode(), secret, token["signature"]):
        raise BadSignature(SignatureFault.FORGED)
    return _body_hash(claims, now_s=now_s)


def verify_body(body_hash: str, body: bytes) -> None:
    """Check the raw bytes of a body, never a re-encoded one, against the hash of its token.

    Raises:
        BadSignature: with BODY_ALTERED.
    """
    expected = base64.b64encode(hashlib.sha256(body).digest())
    if not hmac.compare_digest(body_hash.encode(), expected):
        raise BadSignature(SignatureFault.BODY_ALTERED)


def _body_hash(claims: Mapping[str, Any], *, now_s: float) -> str:
    """The hash among claims whose signature is good, if they hold at this time."""
    expires, not_before, issued = claims.get("exp"), claims.get("nbf", 0), claims.get("iat", 0)
    if not (_is_number(expires) and _is_number(not_before) and _is_number(issued)):
        raise BadSignature(SignatureFault.CLAIMS)
    if now_s > expires + LEEWAY_S:
        raise BadSignature(SignatureFault.EXPIRED)
    if max(not_before, issued) > now_s + LEEWAY_S:
        raise BadSignature(SignatureFault.NOT_YET_VALID)
    body_hash = claims.get("sha256")
    if not isinstance(body_hash, str):
        raise BadSignature(SignatureFault.CLAIMS)
    return body_hash


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
