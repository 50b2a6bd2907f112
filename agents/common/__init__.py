"""Parts that all learners share."""
