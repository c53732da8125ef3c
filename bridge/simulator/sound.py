"""The sound of the protocol: mono, 16 bits a sample, in frames of 10 ms. Ours alone, as a server's would be."""

RATE_HZ = 24_000
BYTES_PER_MS = RATE_HZ * 2 // 1000
FRAME_MS = 10
FRAME_BYTES = FRAME_MS * BYTES_PER_MS
"""What the live service sends in one `reply.audio`."""
