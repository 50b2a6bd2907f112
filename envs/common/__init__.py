"""Parts that the environments share."""
