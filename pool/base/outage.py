"""Which errors say that Redis as a whole is in trouble, and which are about one command."""

import re
import ssl

from redis import exceptions as redis_errors

KINDS = (
    redis_errors.ConnectionError,  # refused, dropped, loading its data, too many clients, wrong password
    redis_errors.TimeoutError,
    redis_errors.ReadOnlyError,  # a replica, in the middle of a failover
    redis_errors.OutOfMemoryError,
    redis_errors.NoPermissionError,
    OSError,  # includes the built-in TimeoutError of our own limits
)

WORDS = frozenset(
    {"BUSY", "CLUSTERDOWN", "DENIED", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"}
)
"""The first word of error replies that redis-py 5 has no class for: a script that runs for too long, a disk that is
full, protected mode, a replica without its primary, a primary without its replicas. Of a script of Redis 6 also those
that it has a class for."""

IN_A_SCRIPT = re.compile(r"@user_script: ?\d+: -([A-Z]+) ")
"""How Redis before 7.0 tells of an error that a script met: the word comes late."""


def outage_of(error: BaseException) -> str | None:
    """What is wrong with Redis, in a word for the log: something a repeat may cure, or an operator.

    None for an error that says nothing of the sort: somebody's key of another type, or a bug of ours.
    """
    if isinstance(error, KINDS):
        return type(error).__name__
    if not isinstance(error, redis_errors.ResponseError):
        return None
    word = _first_word(error)
    return word if word in WORDS else None


def is_of_a_replica(error: redis_errors.ResponseError) -> bool:
    """Whether the server refused a write because it is a replica."""
    return isinstance(error, redis_errors.ReadOnlyError) or _first_word(error) == "READONLY"


def fault_of(error: BaseException) -> str:
    """The same for any error, also one about a single command: `WRONGTYPE`, else the name of its kind."""
    word = _first_word(error) if isinstance(error, redis_errors.ResponseError) else ""
    return outage_of(error) or (word if word.isalpha() and word.isupper() else type(error).__name__)


def cure_of(error: BaseException) -> str:
    """What helps against a Redis that cannot be reached, as far as the error tells."""
    told: BaseException | None = error
    while told is not None:
        if isinstance(told, ssl.SSLError):
            return "its certificate is not trusted, or it speaks no TLS: REDIS_URL=rediss://…?ssl_ca_certs=FILE"
        if isinstance(told, redis_errors.AuthenticationError):
            return "it refuses the user or the password in REDIS_URL"
        told = told.__cause__ or told.__context__
    return "check REDIS_URL, and that Redis runs"


def _first_word(error: redis_errors.ResponseError) -> str:
    # In a pipeline redis-py writes the command in front: "... caused error: ('BUSY Redis is busy ...',)".
    reply = str(error).rpartition("caused error: ")[2].lstrip("(\"'")
    late = IN_A_SCRIPT.search(reply)
    return late[1] if late else reply.partition(" ")[0]
