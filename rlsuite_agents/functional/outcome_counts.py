"""What a table agent counts of a random world: how often a in s led where, and what it paid.

Rules that read and write `OutcomeCounts`, and also run compiled. An outcome of a pair (s, a) is a
next state, or the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from registry.errors import SettingError

__all__ = ["OutcomeCounts", "count", "expected_error", "no_counts"]


class OutcomeCounts(NamedTuple):
    """Each pair has room for K different outcomes; outcome k of (s, a) is slot (s A + a) K + k."""

    n_taken: Any  # how often a was taken in s, int64 [S, A]
    reward_sum: Any  # what that paid, [S, A]
    n_outcomes: Any  # how many different outcomes it had, int64 [S, A]
    outcome: Any  # the next state, or -1 for the end, int64 [S, A, K]
    n_outcome: Any  # how often it came, int64 [S, A, K]
    latest_into: Any  # the slot that led into s for the first time latest, or -1, int64 [S]
    earlier_into: Any  # the slot before this one into the same state, or -1, int64 [S, A, K]
    allowed: Any  # the mask that was last seen in s, bool [S, A]


def no_counts(n_states: int, n_actions: int, max_outcomes: int) -> OutcomeCounts:
    """Nothing counted yet."""
    pairs = n_states, n_actions
    slots = *pairs, min(max_outcomes, n_states + 1)
    return OutcomeCounts(
        n_taken=np.zeros(pairs, np.int64),
        reward_sum=np.zeros(pairs),
        n_outcomes=np.zeros(pairs, np.int64),
        outcome=np.full(slots, -1),
        n_outcome=np.zeros(slots, np.int64),
        latest_into=np.full(n_states, -1),
        earlier_into=np.full(slots, -1),
        allowed=np.ones(pairs, bool),
    )


def count(x: OutcomeCounts, s: int, a: int, r: float, s_next: int, terminated: bool) -> None:
    """Counts one step.

    Raises:
        SettingError: the pair has more different outcomes than there is room for.
    """
    goal = -1 if terminated else s_next
    k, room = 0, x.outcome.shape[2]
    while k < x.n_outcomes[s, a] and x.outcome[s, a, k] != goal:
        k += 1
    if k == room:
        raise SettingError("an action has more different outcomes than max_outcomes; raise it.")
    if k == x.n_outcomes[s, a]:
        x.n_outcomes[s, a] += 1
        x.outcome[s, a, k] = goal
        if goal >= 0:
            x.earlier_into[s, a, k] = x.latest_into[goal]
            x.latest_into[goal] = (s * x.n_taken.shape[1] + a) * room + k
    x.n_outcome[s, a, k] += 1
    x.n_taken[s, a] += 1
    x.reward_sum[s, a] += r


def expected_error(x: Any, s: int, a: int) -> float:
    """δ = r̂ + bonus(s, a) + γ Σ_s' p̂(s') v(s') - q(s, a), by the frequencies of what came.

    `x` holds `model` (the counts), `q`, `values`, `bonus` and `gamma`.
    """
    m, expected = x.model, 0.0
    for k in range(m.n_outcomes[s, a]):
        if m.outcome[s, a, k] >= 0:
            expected += m.n_outcome[s, a, k] / m.n_taken[s, a] * x.values[m.outcome[s, a, k]]
    r = m.reward_sum[s, a] / m.n_taken[s, a] + x.bonus[s, a]
    return r + x.gamma * expected - x.q[s, a]
