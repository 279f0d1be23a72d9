"""Finite Markov decision processes: one table drives environment and oracle."""
