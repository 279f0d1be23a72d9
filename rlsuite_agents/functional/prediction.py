"""Prediction: what a fixed policy does, and how an estimate V moves towards a target.

Rules that also run compiled. `x` are the tables of an agent with V as `v` [S], and a `practice`
whose counts are of states, [S, 1].
"""

from __future__ import annotations

from typing import Any

from rlsuite_agents.functional.chance import random
from rlsuite_agents.functional.exploration import uniform
from rlsuite_agents.functional.practice import step_size, visit

__all__ = ["follow", "move_towards", "next_step_size"]


def follow(pi: Any, mask: Any, rng: Any) -> int:
    """An action drawn from π(·|s), by inverse CDF from one uniform. One row: [A].

    Of the actions that `mask` [A] allows, in proportion to π; where π gives all of them nothing,
    each is equally likely.
    """
    total = 0.0
    for a in range(len(pi)):
        total += pi[a] if mask is None or mask[a] else 0.0
    if total <= 0.0:
        return uniform(len(pi), mask, rng)
    u, last = random(rng) * total, 0
    for a in range(len(pi)):
        if pi[a] > 0.0 and (mask is None or mask[a]):
            last = a
            u -= pi[a]
            if u < 0.0:
                return a
    return last


def next_step_size(x: Any, s: int) -> float:
    """α, or α n(s)^-p with n the updates of s so far, which this one is counted among."""
    visit(x.practice, s, 0)
    return step_size(x.practice, s, 0)


def move_towards(x: Any, s: int, target: float) -> None:
    """V(s) ← V(s) + α [target - V(s)]   (S&B 2nd ed., eq. 6.1)."""
    x.v[s] += next_step_size(x, s) * (target - x.v[s])
