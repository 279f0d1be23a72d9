"""The suites that come with rlsuite, one TOML file each."""

from __future__ import annotations

from pathlib import Path

__all__ = ["bandits", "classic", "classic_sb3", "quick", "textbook"]


def quick() -> Path:
    """Every family of tasks in under three minutes."""
    return Path(__file__).with_name("quick.toml")


def textbook() -> Path:
    """Tables and bandits, with exact answers: a few minutes."""
    return Path(__file__).with_name("textbook.toml")


def bandits() -> Path:
    """Bandit policies by their regret while they learn: a minute of one core."""
    return Path(__file__).with_name("bandits.toml")


def classic() -> Path:
    """Classic control with networks, beside Stable-Baselines3's results: an hour of one core."""
    return Path(__file__).with_name("classic.toml")


def classic_sb3() -> Path:
    """Stable-Baselines3 on the tasks of `classic`, for its baselines: three hours of one core."""
    return Path(__file__).with_name("classic_sb3.toml")
