"""The framing of streams: bytes to frames, and frames to bytes."""
