"""Series of a carrier; its parent merges those of all.

No room labels: a room name is unbounded, and may hold a phone number.
"""

from prometheus_client import Counter, Gauge, Histogram

CAPACITY = Gauge("roompool_capacity", "Calls this worker may carry at one time.", multiprocess_mode="livesum")
IN_USE = Gauge(
    "roompool_in_use", "Calls this worker holds, those on their way in and out included.", multiprocess_mode="livesum"
)
DRAINING = Gauge("roompool_draining", "Carriers that take no more calls.", multiprocess_mode="livesum")
CLAIMS = Counter("roompool_claims_total", "Attempts to claim a room, by answer.", ["answer"])
WAITED_SECONDS = Histogram(
    "roompool_waited_seconds",
    "From a caller being noted to the claim of the room.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0),
)
RENEWALS = Counter("roompool_renewals_total", "Renewals of leases, by answer.", ["answer"])
RENEWAL_SECONDS = Histogram(
    "roompool_renewal_seconds", "One round of renewals.", buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
)
RELEASES_FAILED = Counter(
    "roompool_releases_failed_total", "Rooms whose release did not reach Redis: the lease ran out."
)
QUEUE_RESTARTS = Counter(
    "roompool_queue_restarts_total", "Times the queue's worker was rebuilt after an error of Redis."
)
JOBS_SET_ASIDE = Counter("roompool_jobs_set_aside_total", "Queue entries that could not be run, by reason.", ["reason"])
SWEEPS_FAILED = Counter("roompool_sweeps_failed_total", "Sweeps that Redis did not answer.")
RECONCILES = Counter("roompool_reconciles_total", "Looks at LiveKit's list of rooms, by how they went.", ["outcome"])
LOOP_LAG_SECONDS = Gauge(
    "roompool_loop_lag_seconds",
    "How late a carrier's event loop was last, of the latest one.",
    multiprocess_mode="livemax",
)
STORY_DROPPED = Counter("roompool_story_dropped_total", "Entries for `roompool why` dropped because Redis was away.")
HANDOVERS = Counter("roompool_handovers_total", "Tries to hand a call to another worker, by result.", ["result"])
STAND_BYS = Counter(
    "roompool_stand_bys_total", "Calls of other workers this one was ready to take over, by result.", ["result"]
)
MEMORY_DROPPED = Counter(
    "roompool_memory_dropped_total", "Turns that no later owner of their room will know of, by reason.", ["reason"]
)
