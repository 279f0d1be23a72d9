"""Token generation: text as an episode, a reward model at its end, the exact optimum beside it."""
