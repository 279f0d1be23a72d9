"""The one draw that compiled rules make."""

from __future__ import annotations

from typing import Any

__all__ = ["random"]


def random(rng: Any) -> float:
    """The next uniform in [0, 1): `rng.random()`. A compiled loop puts its own PCG64 here."""
    return rng.random()
