"""Trainings in the maze and in other environments."""
