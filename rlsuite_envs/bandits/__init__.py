"""Bandits with a fixed horizon and exact regret."""
