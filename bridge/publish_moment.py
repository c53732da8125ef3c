"""When to publish, so that a caller who has only just joined hears the agent soonest. Pure.

livekit-server tells a caller of a new track by negotiating with it: 10 ms after the track came when it has not
negotiated with that caller for 150 ms, else 150 ms after the track came (1.13.5, `pkg/rtc/transport.go`,
`fastNegotiationFrequency` and `negotiationFrequency`). The first time is the caller's own joining. So a track that
comes 140 ms after its caller is heard 130 ms later than one that comes after 150.
"""

from collections.abc import Collection


def hold_ms(
    callers_joined_ms: Collection[int], *, own_joined_ms: int, connect_took_ms: int, now_ms: int, publish_after_ms: int
) -> int:
    """How long to hold the agent's track back; never longer than `publish_after_ms`.

    How long a caller has been in the room is certain but for the time that our own connecting took: LiveKit's clock
    tells when either of us joined. Within that our clock decides, which may differ from LiveKit's.

    Args:
        callers_joined_ms: When each caller joined, Unix ms by LiveKit's clock. The first of them decides: nobody who
            has waited is kept waiting for somebody who has not.
        own_joined_ms: When we joined, by the same clock.
        connect_took_ms: From the beginning of our connecting until now.
        now_ms: Unix ms by our own clock.
        publish_after_ms: How long after its caller's joining the track is wanted; 0 never holds it back.
    """
    if not callers_joined_ms:
        return 0
    first_ms = min(callers_joined_ms)
    least_ms = own_joined_ms - first_ms
    age_ms = min(max(now_ms - first_ms, least_ms), least_ms + connect_took_ms)
    return min(max(publish_after_ms - age_ms, 0), publish_after_ms)
