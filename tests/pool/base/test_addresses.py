"""`pool.base.addresses`: what REDIS_URL may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.base.addresses import SentinelUrl, check_redis_url, is_sentinel_url, parse_sentinel_url, shown

TAKEN = [
    "redis://127.0.0.1:6379/0",
    "redis://:word@[::1]:6379",
    "rediss://user:word@redis.example.org/1?ssl_ca_certs=/etc/ssl/redis.pem",
    "unix:///run/redis.sock?db=2",
    "redis+sentinel://a/calls",
    "redis+sentinel://:word@a:26379,b:26380,[::1]:1/calls/3?sentinel_password=other",
    "rediss+sentinel://user:word@a,b,c/calls?ssl_ca_certs=/etc/ssl/redis.pem",
]

REFUSED = [
    ("", "begins with none of"),
    ("localhost:6379", "begins with none of"),
    ("http://hush@127.0.0.1", "begins with none of"),
    ("redis:/127.0.0.1", "begins with none of"),
    ("redis://", "names no server"),
    ("unix://", "names no server"),
    ("redis://h ost:6379", "a blank in the server's name"),
    ("redis://h:6379/abc", "a database that is no number"),
    ("redis://:hush@127.0.0.1:port/0", "port"),
    ("redis://[::1", "brackets"),
    ("redis+sentinel://a,b", "names no service"),
    ("redis+sentinel://a,b/", "names no service"),
    ("redis+sentinel:///calls", "without a host"),
    ("redis+sentinel://a,,b/calls", "without a host"),
    ("redis+sentinel://:hush@a:x/calls", "port"),
    ("redis+sentinel://a:0/calls", "port"),
    ("redis+sentinel://a:65536/calls", "port"),
    ("redis+sentinel://a/calls/first", "database"),
]


@pytest.mark.parametrize("url", TAKEN)
def test_each_form_is_taken(url: str) -> None:
    """Servers, paths, sentinels; with and without TLS, names and passwords."""
    check_redis_url(url)


@pytest.mark.parametrize(("url", "why"), REFUSED)
def test_what_is_wrong_is_said_without_repeating_it(url: str, why: str) -> None:
    """The URL usually holds a password."""
    with pytest.raises(ValueError, match=why) as caught:
        check_redis_url(url)
    assert "hush" not in str(caught.value)


def test_sentinels_have_hosts_a_service_and_passwords_of_their_own() -> None:
    """What is the servers' goes into a plain URL, whose host is none; what is the sentinels' stays out of it."""
    url = "redis+sentinel://me:p%40ss@a,b:26380,[::1]:1/my%20calls/3?sentinel_password=%2Fs&sentinel_username=u&x=1"
    assert parse_sentinel_url(url) == SentinelUrl(
        sentinels=(("a", 26379), ("b", 26380), ("::1", 1)),
        service="my calls",
        username="u",
        password="/s",
        server_url="redis://me:p%40ss@primary.invalid/3?x=1",
    )


def test_tls_to_sentinels_is_tls_to_servers() -> None:
    """And without a word it is the first database."""
    sentinel_url = parse_sentinel_url("rediss+sentinel://a/calls?ssl_ca_certs=/x.pem")
    assert sentinel_url.server_url == "rediss://primary.invalid/0?ssl_ca_certs=%2Fx.pem"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://:hush@redis.example.org/1", "redis.example.org:6379"),
        ("rediss://u:hush@redis.example.org:6380/1", "redis.example.org:6380"),
        ("unix://:hush@/run/redis.sock", "/run/redis.sock"),
        ("redis+sentinel://:hush@a,b:1/calls?sentinel_password=hush", "calls of the sentinels a:26379, b:1"),
    ],
)
def test_a_person_is_shown_the_place_alone(url: str, text: str) -> None:
    """Passwords stay where they are."""
    assert shown(url) == text


@given(st.text(max_size=60), st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"]))
def test_no_text_is_worse_than_refused(rest: str, scheme: str) -> None:
    """Whatever somebody writes is taken, or refused with a ValueError; what is taken can be shown."""
    url = f"{scheme}://{rest}"
    try:
        check_redis_url(url)
    except ValueError:
        return
    assert isinstance(shown(url), str)
    assert not is_sentinel_url(url) or parse_sentinel_url(url).sentinels
