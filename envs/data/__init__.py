"""Data files: found or downloaded, verified, and read."""
