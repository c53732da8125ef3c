"""What the receiver counts. No label carries a room, and every label has few values."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from webhook.events import KNOWN_EVENTS

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The receiver's series in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._deliveries = Counter(
            "roompool_webhook_deliveries",
            "Deliveries answered, by LiveKit's event and by what became of them.",
            ["event", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "roompool_webhook_delivery_seconds",
            "From the request's headers to the answer.",
            buckets=SECONDS,
            registry=registry,
        )

        self._story_dropped = Counter(
            "roompool_webhook_story_dropped_total",
            "Lines for `roompool why` that were dropped, or that Redis did not take; no delivery was.",
            registry=registry,
        )

    def story_dropped(self, number: int) -> None:
        """Count lines of stories that nobody will read."""
        self._story_dropped.inc(number)

    def answered(self, *, event: str, outcome: str, seconds: float) -> None:
        """Count one delivery. `event` is empty where nothing was read; one we do not know counts as `other`."""
        label = event if event in KNOWN_EVENTS else "other" if event else "none"
        self._deliveries.labels(label, outcome).inc()
        self._seconds.observe(seconds)
