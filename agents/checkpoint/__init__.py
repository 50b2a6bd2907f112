"""Checkpoints: their files, and all that goes into them."""
