"""Which voice sessions were not ended as they should have been. Pure.

A session that its client leaves without `session.end` is paid for until the vendor gives it up. Only a process that was
killed may do that.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any

Reports = Sequence[Mapping[str, Any]]
"""Sessions as the simulator's control port tells of them."""


def still_open(reports: Reports) -> int:
    """How many have not ended."""
    return sum(one["ending"] is None for one in reports)


def unended(
    reports: Reports, carriers: Mapping[str, str], *, killed: Set[str], killed_unix_ms: int, slack_ms: int = 500
) -> list[str]:
    """The sessions that a living process left without `session.end`.

    Args:
        carriers: Session to the carrier that told of it. One that nobody told of, opened before the last kill or
            within `slack_ms` after it, belonged to a killed carrier that did not come to telling.
        killed: Carriers that were killed; `killed_unix_ms` is when the last of them was.
    """
    bad = []
    for one in reports:
        if one["ending"] not in (None, "lost"):
            continue
        carrier = carriers.get(one["session_id"])
        untold = carrier is None and bool(killed) and one["opened_unix_ms"] <= killed_unix_ms + slack_ms
        if carrier not in killed and not untold:
            bad.append(str(one["session_id"]))
    return bad
