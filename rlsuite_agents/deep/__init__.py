"""Agents with neural networks, one algorithm a file."""
