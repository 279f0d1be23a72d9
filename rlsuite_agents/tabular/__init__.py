"""Tabular control, one algorithm a file."""
