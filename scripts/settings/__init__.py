"""Typed settings and presets."""
