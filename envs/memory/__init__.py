"""Small environments whose rewards depend on memory."""
