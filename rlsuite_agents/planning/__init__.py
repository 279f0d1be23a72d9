"""Agents that plan with the model: dynamic programming, one file each."""
