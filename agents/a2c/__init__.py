"""Advantage actor-critic on whole sequences."""
