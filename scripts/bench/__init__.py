"""The benchmark's cases and timing."""
