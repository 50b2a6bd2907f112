"""Supervised tasks whose episodes are whole lifetimes."""
