"""Trainings: one, many, on Ray, and the paper's experiments."""
