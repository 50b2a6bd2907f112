"""Tasks: what is trained on, how it is made, and how it is scored."""
