"""Trainings: a single run, many runs, runs on Ray, and the paper's experiments."""
