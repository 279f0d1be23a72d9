"""Dynamic programming over a table, in Sutton & Barto's letters.

A table of S states, A actions and K outcomes is three arrays:

    r [S, A]          r(s, a), the expected reward
    p [S, A, K]       probability that outcome k comes and the task goes on: what is missing to 1
                      in Σ_k p is the probability that the action ends it
    s_next [S, A, K]  where outcome k leads

so that nothing is worth anything after the end, and no flag is needed for it. `pi` is π(a|s),
[S, A], or [1, A] where one row holds in all states.

One backup serves evaluation, optimal control and soft control, by its temperature τ:

    v(s) = τ log Σ_a π(a|s) exp(q(s, a) / τ)

    τ = 0        max_a q(s, a), over the actions that π takes           (S&B 2nd ed., eq. 4.10)
    0 < τ < ∞    soft values with the reference policy π                (Levine 2018, eq. 6 and 9)
    τ = ∞        Σ_a π(a|s) q(s, a)                                     (S&B 2nd ed., eq. 4.5)

The functions are explicit loops that also run compiled, bit for bit the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = [
    "action_values",
    "backup_rows",
    "boltzmann",
    "soft_value",
    "sweep",
]


def soft_value(q: Any, pi: Any, temperature: float) -> float:
    """τ log Σ_a π(a) exp(q(a) / τ); the largest q where τ = 0, the mean where τ = ∞.

    Args:
        q: Values of the actions, one row [A]. Where π is 0 they are not read.
        pi: π(a), one row [A].
        temperature: τ in [0, ∞].
    """
    if temperature == math.inf:
        mean = 0.0
        for a in range(len(q)):
            if pi[a] > 0.0:
                mean += pi[a] * q[a]
        return mean
    best = -math.inf
    for a in range(len(q)):
        if pi[a] > 0.0 and q[a] > best:
            best = q[a]
    if temperature == 0.0:
        return best
    # Σ_a π(a) [exp((q(a) - best) / τ) - 1], which keeps its digits where τ is large
    below = 0.0
    for a in range(len(q)):
        if pi[a] > 0.0:
            below += pi[a] * math.expm1((q[a] - best) / temperature)
    return best + temperature * math.log1p(below)


def sweep(
    out: Any,
    v: Any,
    r: Any,
    p: Any,
    s_next: Any,
    gamma: float,
    pi: Any,
    temperature: float,
    backwards: bool,
) -> float:
    """One backup of every state: out(s) ← τ log Σ_a π(a|s) exp(q(s, a) / τ), q from v.

    With `out` the array `v` itself the sweep is in place (Gauss-Seidel): a state sees the new
    values of those before it (S&B 2nd ed., section 4.1). It has the same fixed point, and contracts
    by γ too.

    Args:
        out: Where the new values go, [S].
        v: The values, [S].
        r: r(s, a), [S, A].
        p: Probability of each outcome that goes on, [S, A, K].
        s_next: Where it leads, [S, A, K].
        gamma: γ in [0, 1].
        pi: π(a|s), [S, A] or [1, A]; actions of probability 0 are left out.
        temperature: τ in [0, ∞].
        backwards: From the last state to the first.

    Returns:
        The largest change of a value. In place, and with γ < 1, no value is then further from the
        fixed point than γ / (1 - γ) times that.
    """
    n, actions, outcomes, change = r.shape[0], r.shape[1], p.shape[2], 0.0
    q = np.empty(actions)
    for i in range(n):
        s = n - 1 - i if backwards else i
        row, best = min(s, len(pi) - 1), -math.inf
        for a in range(actions):
            if pi[row, a] > 0.0:
                expected = 0.0
                for k in range(outcomes):  # written out: a call costs more than the sum
                    expected += p[s, a, k] * v[s_next[s, a, k]]
                q[a] = r[s, a] + gamma * expected
                best = max(best, q[a])
        new = best if temperature == 0.0 else soft_value(q, pi[row], temperature)
        change = max(change, abs(new - v[s]))
        out[s] = new
    return change


def action_values(v: Any, r: Any, p: Any, s_next: Any, gamma: float) -> Any:
    """q(s, a) = r(s, a) + γ Σ_k p_k v(s'_k) of all states and actions   (S&B eq. 4.6): [S, A]."""
    q = np.empty(r.shape)
    for s in range(r.shape[0]):
        for a in range(r.shape[1]):
            expected = 0.0
            for k in range(p.shape[2]):
                expected += p[s, a, k] * v[s_next[s, a, k]]
            q[s, a] = r[s, a] + gamma * expected
    return q


def backup_rows(q: Any, pi: Any, temperature: float) -> Any:
    """v(s) = τ log Σ_a π(a|s) exp(q(s, a) / τ) of all rows of q [S, A]: [S]."""
    v = np.empty(q.shape[0])
    for s in range(q.shape[0]):
        v[s] = soft_value(q[s], pi[min(s, len(pi) - 1)], temperature)
    return v


def boltzmann(q: Any, pi: Any, temperature: float) -> Any:
    """π_τ(a|s) = π(a|s) exp((q(s, a) - v(s)) / τ), the policy whose soft value v(s) is.

    Args:
        q: Values of the actions, [B, A].
        pi: The reference π, [B, A]; where it is 0, so is the answer.
        temperature: τ > 0.

    Returns:
        Probabilities [B, A].
    """
    q, pi = np.asarray(q), np.asarray(pi)
    best = np.max(np.where(pi > 0, q, -np.inf), axis=1, keepdims=True)
    weight = pi * np.exp(np.minimum(q - best, 0.0) / temperature)
    return weight / weight.sum(axis=1, keepdims=True)
