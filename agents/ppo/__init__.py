"""Proximal policy optimisation with memory."""
