"""Gradient descent through supervised episodes."""
