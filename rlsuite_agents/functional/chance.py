"""The draws that compiled rules make, all from one kind: a uniform."""

from __future__ import annotations

from typing import Any

__all__ = ["draw_from", "random"]


def random(rng: Any) -> float:
    """The next uniform in [0, 1): `rng.random()`. A compiled loop puts its own PCG64 here."""
    return rng.random()


def draw_from(pi: Any, rng: Any) -> int:
    """A number by inverse CDF, from one uniform: never one of probability 0. One row: [A]."""
    u, last = random(rng), 0
    for a in range(len(pi)):
        if pi[a] > 0.0:
            last = a
            u -= pi[a]
            if u < 0.0:
                break
    return last
