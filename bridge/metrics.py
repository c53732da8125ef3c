"""Series of the bridge. No room labels: a room name is unbounded, and may hold a phone number."""

from prometheus_client import Counter, Histogram

CALLS = Counter("roompool_calls_total", "Calls ended, by ending.", ["ending"])
JOIN_SECONDS = Histogram(
    "roompool_join_seconds",
    "From taking a room to the agent's track being there, its turn and the hold for its caller included.",
    buckets=(0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0),
)
VOICE_READY_SECONDS = Histogram(
    "roompool_voice_ready_seconds",
    "From taking a room to a voice session that is ready.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 15.0),
)

ADDED_BUCKETS = (0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25)
"""Fine where we want to be, below 2 ms, and wide enough to tell a busy process from one that stood still."""

REPLY_ADDED_SECONDS = Histogram(
    "roompool_reply_added_seconds",
    "From a reply's first audio out of the voice socket to its first frame given to LiveKit's SDK; "
    "not where it waits by design: for the last reply's end, for a listener, for a lease.",
    buckets=ADDED_BUCKETS,
)
CALLER_ADDED_SECONDS = Histogram(
    "roompool_caller_added_seconds",
    "From a caller's frame out of LiveKit's SDK to its bytes taken by the voice socket; "
    "not for what was kept while no voice listened.",
    buckets=ADDED_BUCKETS,
)
BARGE_IN_FLUSH_SECONDS = Histogram(
    "roompool_barge_in_flush_seconds",
    "From the voice's word that a caller cut in to the agent's queue being empty.",
    buckets=ADDED_BUCKETS,
)
BARGE_INS = Counter("roompool_barge_ins_total", "Times a caller cut in while the agent spoke.")
VOICE_SESSIONS = Counter("roompool_voice_sessions_total", "Voice sessions opened.")
VOICE_FAILURES = Counter(
    "roompool_voice_failures_total", "Voice sessions that failed, and faults told in one, by kind.", ["kind"]
)
VOICE_SURPRISES = Counter("roompool_voice_surprises_total", "Messages of the voice peer that we did not expect.")
UNACKNOWLEDGED_FAREWELLS = Counter(
    "roompool_voice_farewells_unacknowledged_total", "Voice sessions whose end the peer did not confirm in time."
)
AUDIO_DROPPED_MS = Counter("roompool_audio_dropped_ms_total", "Audio dropped because a buffer was full.", ["way"])
FRAMES_MUTED = Counter(
    "roompool_frames_muted_total", "Frames not spoken because the room was out of reach or not surely ours."
)
ABANDONED_SDK_CALLS = Counter(
    "roompool_sdk_calls_abandoned_total", "Calls into LiveKit's SDK that did not end within their limit."
)
