"""Reinforcement learning for language models."""
