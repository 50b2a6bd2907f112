"""Parts that recurrent learners share: policies, rollouts, resuming, several processes."""
