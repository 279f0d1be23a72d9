"""Continuous control whose best answer is known."""
