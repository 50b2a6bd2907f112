"""Trainings on the supervised tasks."""
