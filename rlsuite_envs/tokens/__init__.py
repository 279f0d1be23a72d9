"""Token generation: text as an episode, a reward model at its end, the KL-regularised optimum beside it."""
