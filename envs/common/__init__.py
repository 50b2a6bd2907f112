"""Parts shared by the environments."""
