"""The suites that come with rlsuite, one TOML file each."""

from __future__ import annotations

from pathlib import Path

__all__ = ["classic", "quick", "textbook"]


def quick() -> Path:
    """Every family of tasks in under three minutes."""
    return Path(__file__).with_name("quick.toml")


def textbook() -> Path:
    """Tables and bandits, with exact answers: a few minutes."""
    return Path(__file__).with_name("textbook.toml")


def classic() -> Path:
    """Classic control with networks: about an hour on two cores."""
    return Path(__file__).with_name("classic.toml")
