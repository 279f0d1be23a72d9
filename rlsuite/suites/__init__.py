"""The suites that come with rlsuite, one TOML file each."""

from __future__ import annotations

from pathlib import Path

__all__ = ["quick"]


def quick() -> Path:
    """Every family of tasks in under three minutes."""
    return Path(__file__).with_name("quick.toml")
