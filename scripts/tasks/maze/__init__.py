"""Trainings on the maze."""
