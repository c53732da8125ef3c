"""`webhook.signature`: a genuine delivery passes; everything else is one typed error with its reason."""

import base64
import contextlib
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.deliveries import KEY, NOW_S, OTHER_SECRET, SECRET, claims_of, token_of
from webhook.signature import (
    LEEWAY_S,
    MAX_TOKEN_BYTES,
    BadSignature,
    SignatureFault,
    keyring,
    verify_body,
    verify_token,
)

BODY = b'{"event": "room_started"}'
KEYS = keyring({KEY: SECRET})


def unsigned(header: bytes, payload: bytes, signature: bytes = b"x" * 32) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, payload, signature))


def test_a_genuine_delivery_passes() -> None:
    """Token and body of one delivery belong together."""
    verify_body(verify_token(token_of(BODY, now_s=NOW_S), KEYS, now_s=NOW_S), BODY)


def test_a_token_without_the_optional_times_passes() -> None:
    """Only `exp` is required of the three times."""
    verify_token(token_of(BODY, now_s=NOW_S, nbf=None, iat=None), KEYS, now_s=NOW_S)


def test_both_keys_are_believed_while_one_is_replaced() -> None:
    """The issuer picks the secret."""
    keys = keyring({KEY: SECRET, "newkey": OTHER_SECRET})
    for issuer, secret in ((KEY, SECRET), ("newkey", OTHER_SECRET)):
        assert verify_token(token_of(BODY, now_s=NOW_S, iss=issuer, secret=secret), keys, now_s=NOW_S)


def test_a_key_does_not_sign_for_another() -> None:
    """A holder of the old secret cannot speak as the new key."""
    keys = keyring({KEY: SECRET, "newkey": OTHER_SECRET})
    with pytest.raises(BadSignature) as caught:
        verify_token(token_of(BODY, now_s=NOW_S, iss="newkey", secret=SECRET), keys, now_s=NOW_S)
    assert caught.value.reason is SignatureFault.FORGED


NONE_ALGORITHM = jwt.encode(claims_of(BODY, now_s=NOW_S), None, algorithm="none")
DEEP = b"[" * 2000

BAD_TOKENS = [
    ("no header", None, SignatureFault.MISSING),
    ("empty header", "", SignatureFault.MISSING),
    ("garbage", "garbage", SignatureFault.MALFORMED),
    ("two parts", "a.b", SignatureFault.MALFORMED),
    ("bearer", f"Bearer {token_of(BODY, now_s=NOW_S)}", SignatureFault.MALFORMED),
    ("not ascii", "ä.ö.ü", SignatureFault.MALFORMED),
    ("lone surrogate", "\ud800.a.b", SignatureFault.MALFORMED),
    ("header no object", unsigned(b"[]", b"{}"), SignatureFault.MALFORMED),
    ("header nested deep", unsigned(DEEP, b"{}"), SignatureFault.MALFORMED),
    ("payload nested deep", unsigned(b'{"alg": "HS256"}', DEEP[:1500]), SignatureFault.MALFORMED),
    ("payload no object", unsigned(b'{"alg": "HS256"}', b"[]"), SignatureFault.MALFORMED),
    ("payload not utf-8", unsigned(b'{"alg": "HS256"}', b'{"iss": "\xff"}'), SignatureFault.MALFORMED),
    ("unknown critical header", unsigned(b'{"alg": "HS256", "crit": ["x"], "x": 1}', b"{}"), SignatureFault.MALFORMED),
    ("too long", "a" * (MAX_TOKEN_BYTES + 1), SignatureFault.MALFORMED),
    ("no algorithm", unsigned(b"{}", b"{}"), SignatureFault.ALGORITHM),
    ("algorithm none", NONE_ALGORITHM, SignatureFault.ALGORITHM),
    ("algorithm HS384", token_of(BODY, now_s=NOW_S, secret=SECRET * 2, algorithm="HS384"), SignatureFault.ALGORITHM),
    ("no issuer", token_of(BODY, now_s=NOW_S, iss=None), SignatureFault.UNKNOWN_ISSUER),
    ("unknown issuer", token_of(BODY, now_s=NOW_S, iss="stranger"), SignatureFault.UNKNOWN_ISSUER),
    ("issuer no text", unsigned(b'{"alg": "HS256"}', b'{"iss": ["devkey"]}'), SignatureFault.UNKNOWN_ISSUER),
    ("wrong secret", token_of(BODY, now_s=NOW_S, secret=OTHER_SECRET), SignatureFault.FORGED),
    ("no signature", token_of(BODY, now_s=NOW_S).rpartition(".")[0] + ".", SignatureFault.FORGED),
    ("expired", token_of(BODY, now_s=NOW_S, exp=NOW_S - LEEWAY_S - 1), SignatureFault.EXPIRED),
    ("not yet valid", token_of(BODY, now_s=NOW_S, nbf=NOW_S + LEEWAY_S + 1), SignatureFault.NOT_YET_VALID),
    ("issued in the future", token_of(BODY, now_s=NOW_S, iat=NOW_S + LEEWAY_S + 1), SignatureFault.NOT_YET_VALID),
    ("no exp", token_of(BODY, now_s=NOW_S, exp=None), SignatureFault.CLAIMS),
    ("exp no number", token_of(BODY, now_s=NOW_S, exp=str(NOW_S)), SignatureFault.CLAIMS),
    ("exp true", token_of(BODY, now_s=NOW_S, exp=True), SignatureFault.CLAIMS),
    ("nbf no number", token_of(BODY, now_s=NOW_S, nbf=[]), SignatureFault.CLAIMS),
    ("no hash", token_of(BODY, now_s=NOW_S, sha256=None), SignatureFault.CLAIMS),
    ("hash a number", token_of(BODY, now_s=NOW_S, sha256=7), SignatureFault.CLAIMS),
]


@pytest.mark.parametrize(("token", "reason"), [pytest.param(t, r, id=name) for name, t, r in BAD_TOKENS])
def test_a_bad_token_is_refused_with_its_reason(token: str | None, reason: SignatureFault) -> None:
    """Every kind of bad token has a reason of its own."""
    with pytest.raises(BadSignature) as caught:
        verify_token(token, KEYS, now_s=NOW_S)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("claim", "value"), [("exp", NOW_S - LEEWAY_S), ("nbf", NOW_S + LEEWAY_S), ("iat", NOW_S + LEEWAY_S)]
)
def test_clocks_may_differ_by_the_leeway(claim: str, value: int) -> None:
    """A token is good up to the leeway's last second."""
    changes: dict[str, Any] = {claim: value}
    verify_token(token_of(BODY, now_s=NOW_S, **changes), KEYS, now_s=NOW_S)


@pytest.mark.parametrize("body", [BODY + b" ", b"", json.dumps(json.loads(BODY), indent=1).encode()])
def test_an_altered_body_is_refused(body: bytes) -> None:
    """The hash is of the raw bytes: not even the same JSON in another form will do."""
    with pytest.raises(BadSignature) as caught:
        verify_body(verify_token(token_of(BODY, now_s=NOW_S), KEYS, now_s=NOW_S), body)
    assert caught.value.reason is SignatureFault.BODY_ALTERED


@pytest.mark.parametrize("claimed", ["", "ä", "not base64 !"])
def test_a_hash_that_is_none_is_refused(claimed: str) -> None:
    """A signed claim of any text is compared, never decoded."""
    with pytest.raises(BadSignature):
        verify_body(claimed, BODY)


@given(st.text(max_size=200))
def test_any_text_is_refused_by_the_typed_error(text: str) -> None:
    """Whatever a header holds, nothing but BadSignature is raised."""
    with pytest.raises(BadSignature):
        verify_token(text, KEYS, now_s=NOW_S)


@given(st.binary(max_size=60), st.binary(max_size=200), st.binary(max_size=40))
def test_any_three_parts_are_refused_by_the_typed_error(header: bytes, payload: bytes, signature: bytes) -> None:
    """The same for what has the shape of a token."""
    with pytest.raises(BadSignature):
        verify_token(unsigned(header, payload, signature), KEYS, now_s=NOW_S)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("exp", "nbf", "iat", "sha256"), json_values)))
def test_any_claims_of_a_key_holder_give_a_hash_or_the_typed_error(claims: dict[str, object]) -> None:
    """Even who can sign cannot make anything else be raised."""
    token = jwt.PyJWS().encode(json.dumps({"iss": KEY, **claims}).encode(), SECRET, algorithm="HS256")
    with contextlib.suppress(BadSignature):
        assert isinstance(verify_token(token, KEYS, now_s=NOW_S), str)


@pytest.mark.parametrize("secret", ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_secret_that_cannot_sign_makes_no_keyring(secret: str) -> None:
    """It is refused at start, not at the first delivery."""
    with pytest.raises(ValueError, match="not a secret"):
        keyring({KEY: secret})
