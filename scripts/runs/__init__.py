"""Runs: their folders, checkpoints, logs and terminal output."""
