"""Trained agents that come with the package: each is the folder of a run, with a card that describes it."""
