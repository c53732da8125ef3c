"""Series of the bridge. No room labels: a room name is unbounded, and may hold a phone number."""

from prometheus_client import Counter, Histogram

CALLS = Counter("roompool_calls_total", "Calls ended, by ending.", ["ending"])
JOIN_SECONDS = Histogram(
    "roompool_join_seconds",
    "From taking a room to being in it.",
    buckets=(0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0),
)
VOICE_READY_SECONDS = Histogram(
    "roompool_voice_ready_seconds",
    "From taking a room to a voice session that is ready.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 15.0),
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
