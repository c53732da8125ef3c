"""What REDIS_URL may say, read without connecting: a server, a path, or the sentinels that know which server it is.

    redis://[user:password@]host[:6379][/db]             rediss:// the same through TLS
    unix://[user:password@]/path?db=0
    redis+sentinel://[user:password@]host[:26379],host.../service[/db]
    rediss+sentinel:// the same, with TLS to servers and sentinels alike

After `?` come the options of redis-py (`ssl_ca_certs=/etc/ssl/redis.pem`); for sentinels also `sentinel_username` and
`sentinel_password`. What must be quoted in a URL is quoted in each part.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

SCHEMES = ("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://")
SENTINEL_PORT = 26_379
SERVER_PORT = 6_379

Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """Sentinels, and what they are asked for."""

    sentinels: tuple[Address, ...]
    service: str
    username: str | None
    password: str | None
    server_url: str
    """How to talk to the server once its address is known: scheme, user, database and options; its host is none."""


def is_sentinel_url(url: str) -> bool:
    """Whether the URL names sentinels instead of a server."""
    return url.partition("://")[0] in ("redis+sentinel", "rediss+sentinel")


def parse_sentinel_url(url: str) -> SentinelUrl:
    """Read a URL for which `is_sentinel_url` holds.

    Raises:
        ValueError: what is wrong with it, in words that repeat nothing of it: it may hold a password.
    """
    scheme, _, rest = url.partition("://")
    where, _, query = rest.partition("?")
    authority, _, path = where.partition("/")
    user, at, hosts = authority.rpartition("@")
    service, _, db = path.partition("/")
    if not service:
        raise ValueError("names no service: what comes after the sentinels and a slash")
    if db and not db.isdecimal():
        raise ValueError("has a database that is no number")
    given = dict(parse_qsl(query))
    username, password = (given.pop(f"sentinel_{name}", None) for name in ("username", "password"))
    return SentinelUrl(
        sentinels=tuple(_address(host) for host in hosts.split(",")),
        service=unquote(service),
        username=username,
        password=password,
        server_url=f"{scheme.partition('+')[0]}://{user}{at}primary.invalid/{db or 0}?{urlencode(given)}",
    )


def check_redis_url(url: str) -> None:
    """Raise ValueError, with words that repeat nothing of the URL, unless it is of one of the forms above."""
    if not url.startswith(SCHEMES):
        raise ValueError(f"begins with none of {', '.join(SCHEMES)}")
    if is_sentinel_url(url):
        parse_sentinel_url(url)
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("has brackets that enclose no address") from None
    if not (parts.path if parts.scheme == "unix" else parts.hostname):
        raise ValueError("names no server")
    if parts.hostname and " " in parts.hostname:
        raise ValueError("has a blank in the server's name")
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():  # redis-py would take the first one, silently
        raise ValueError("has a database that is no number behind the server")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is none") from None


def shown(url: str) -> str:
    """Where Redis is, without the passwords that a URL may hold: for a line to a person."""
    if is_sentinel_url(url):
        sentinel_url = parse_sentinel_url(url)
        hosts = ", ".join(f"{host}:{port}" for host, port in sentinel_url.sentinels)
        return f"{sentinel_url.service} of the sentinels {hosts}"
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or SERVER_PORT}" if parts.hostname else parts.path


def checks_certificate(url: str) -> bool:
    """Whether the server's certificate is to be checked, and with it the name of its host: unless told otherwise."""
    return parse_qs(url.partition("?")[2]).get("ssl_cert_reqs", ["required"])[0] != "none"


def _address(text: str) -> Address:
    """`host`, `host:port`, `[::1]` or `[::1]:port`."""
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(SENTINEL_PORT)
    if not host.strip("[]"):
        raise ValueError("names a sentinel without a host")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError("has a port that is none")
    return unquote(host.strip("[]")), int(port)
